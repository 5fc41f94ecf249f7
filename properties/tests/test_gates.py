"""Gates that are made of the tokens are held open and told; exclusive self-attention is refused."""

from __future__ import annotations

from contextlib import redirect_stdout
from io import StringIO
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from properties.basics.errors import QuestionError
from properties.cases.strategies import pinned_cases
from properties.findings.scripts import script
from properties.recognition.targets import find_one
from properties.runs.runner import run
from properties.runs.tally import judge
from properties.spec.clause import clauses
from properties.tests.test_needed import LAWS, ODDS, Heads, Unscaled

COUNT = "shape/parameter-shapes-and-count"
GRADIENTS = "gradient/every-parameter-receives-gradient"


class Gated(Heads):
    """What the heads give is multiplied by a sigmoid, number by number, before the last projection."""

    def __init__(self, d_model: int, num_heads: int) -> None:
        super().__init__(d_model, num_heads)
        self.gate_proj = self.gate(d_model)

    def gate(self, width: int) -> nn.Module:
        return nn.Linear(width, width)

    def weighed(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return self.scores(query, key).softmax(-1) @ value

    def forward(self, x: Tensor) -> Tensor:
        shape = (-1, (self.num_heads, self.head_dim))
        layers = (self.W_query, self.W_key, self.W_value)
        parts = [layer(x).unflatten(*shape).transpose(1, 2) for layer in layers]
        context = self.weighed(*parts).transpose(1, 2).flatten(2)
        return self.out_proj(self.opened(context, self.gate_proj(x)))

    def opened(self, context: Tensor, gate: Tensor) -> Tensor:
        return context * gate.sigmoid()


class GatedByHead(Gated):
    """One number for each head, by a layer in a part of its own."""

    def gate(self, width: int) -> nn.Module:
        return nn.Sequential(nn.Linear(width, self.num_heads, bias=False), nn.Sigmoid())

    def opened(self, context: Tensor, gate: Tensor) -> Tensor:
        heads = context.unflatten(-1, (self.num_heads, -1))
        return (heads * gate[..., None]).flatten(2)


class GatedWithoutEnd(Gated):
    """The gate grows with what it is made of: it is never open."""

    def opened(self, context: Tensor, gate: Tensor) -> Tensor:
        return context * functional.silu(gate)


class Exclusive(Gated):
    """Of what a head gives, what lies along the token's own value is taken out."""

    def weighed(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        context, own = super().weighed(query, key, value), functional.normalize(value, dim=-1)
        return context - (context * own).sum(dim=-1, keepdim=True) * own


class WithoutItself(Gated):
    """A token does not see itself: a fault, and what is left is at no right angles to its value."""

    def weighed(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        scores = self.scores(query, key)
        own = torch.eye(scores.shape[-1], dtype=torch.bool)
        return scores.masked_fill(own, -1e4).softmax(-1) @ value


class UnscaledGated(Unscaled, Gated):
    pass


def failed(kind: type[nn.Module], *only: str) -> list[str]:
    report = run(find_one(kind), profile="quick", only=[*only])
    return [r.clause for r in report.results if r.status != "pass"]


@pytest.mark.parametrize("kind", [Gated, GatedByHead])
def test_a_gate_is_held_open_and_the_laws_hold(kind: type[nn.Module]) -> None:
    assert failed(kind, *LAWS, COUNT, GRADIENTS) == []
    told: dict[str, Any] = find_one(kind).unasked
    assert "a gate: it is held open, and all else asked" in told.values()


def test_a_gate_that_is_never_open_is_refused() -> None:
    with pytest.raises(
        QuestionError, match="gate_proj makes of the tokens, and no number is large"
    ):
        find_one(GatedWithoutEnd)


def test_faults_beside_a_gate_are_told() -> None:
    assert failed(UnscaledGated, ODDS) == [ODDS]
    assert failed(WithoutItself, "oracle/output-within-bound") != []


def test_exclusive_attention_is_refused_for_what_it_is() -> None:
    with pytest.raises(QuestionError, match="along the token's own value"):
        find_one(Exclusive)


def test_a_script_holds_the_gate_open_itself() -> None:
    """The same text fails on the fault and passes on what is right."""
    law = clauses()[ODDS]
    case = next(c for c in pinned_cases(find_one(UnscaledGated)) if judge(law, c).status == "fail")
    found = script(law, case)
    assert found is not None
    with redirect_stdout(StringIO()):
        with pytest.raises(AssertionError):
            found.run(UnscaledGated)
        found.run(Gated)
