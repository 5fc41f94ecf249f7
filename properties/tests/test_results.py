"""A forward may return more than its output, or wrap it: the output in it is judged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from properties.recognition.targets import find_one
from properties.runs.result import Report
from properties.runs.runner import run
from properties.subjects.results import output_in
from properties.zoo.faults.plain import PlainCausal

BOUND = "oracle/output-within-bound"


@dataclass
class Fields:
    context: Tensor
    weights: Tensor | None = None


class Named(NamedTuple):
    context: Tensor
    past: None = None


class CausalTuple(PlainCausal):
    def forward(self, x: Tensor) -> Any:
        return super().forward(x), None


class CausalList(PlainCausal):
    def forward(self, x: Tensor) -> Any:
        return [super().forward(x)]


class CausalMapping(PlainCausal):
    def forward(self, x: Tensor) -> Any:
        return {"last_hidden_state": super().forward(x), "attentions": None}


class CausalObject(PlainCausal):
    def forward(self, x: Tensor) -> Any:
        return Fields(super().forward(x))


class CausalNamed(PlainCausal):
    def forward(self, x: Tensor) -> Any:
        return Named(super().forward(x))


class CausalAfterWeights(PlainCausal):
    def forward(self, x: Tensor) -> Any:
        return x.new_ones(len(x), 1, x.shape[1], x.shape[1]), super().forward(x)


class CausalMappingUnscaled(CausalMapping):
    def scale(self, scores: Tensor) -> Tensor:
        return scores


def asked(module: type[nn.Module], *only: str) -> Report:
    """The report on the class, of these clauses."""
    return run(find_one(module, "causal"), profile="quick", only=only)


@pytest.mark.parametrize(
    "module", [CausalTuple, CausalList, CausalMapping, CausalObject, CausalNamed]
)
def test_what_wraps_the_output_is_no_fault(module: type[nn.Module]) -> None:
    """And nothing is left unasked where there is one tensor."""
    report = asked(module, "shape/output-shape", BOUND)
    assert report.right
    assert not report.failed
    assert not report.unasked
    assert any("the output in it is judged" in note for note in report.notes)


def test_a_second_tensor_that_is_returned_is_named_as_not_asked() -> None:
    """The one that has the rows of the input is the output."""
    report = asked(CausalAfterWeights, "shape/output-shape", BOUND)
    assert not report.failed
    assert set(report.unasked) == {"further results"}


def test_what_is_wrong_in_a_mapping_is_told() -> None:
    """By its name."""
    (finding,) = asked(CausalMappingUnscaled, BOUND).findings
    assert finding.name == "scale absent"


def test_the_output_is_the_first_tensor_with_rows_for_the_tokens() -> None:
    """Else the first tensor, else what was returned."""
    x, weights, context = torch.zeros(2, 3, 5), torch.zeros(2, 1, 3, 3), torch.ones(2, 3, 4)
    assert output_in((weights, context), x) is context
    assert output_in({"a": context}, x) is context
    assert output_in((weights, None), x) is weights
    assert output_in("no tensor", x) == "no tensor"
