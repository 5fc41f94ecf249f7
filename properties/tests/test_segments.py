"""Functions that are told the segment of each token."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import redirect_stdout
from functools import cache
from io import StringIO
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from properties.cases.strategies import pinned_cases
from properties.findings.names import behaves_like
from properties.findings.scripts import script
from properties.recognition.targets import find
from properties.runs.runner import quiet_and_repeatable
from properties.runs.tally import judge
from properties.spec.clause import clauses
from properties.subjects.subject import Subject
from properties.zoo.faults import faults

NAMES = {
    "earlier-segments-are-seen": "earlier segments are seen",
    "segments-of-the-first-item": "segments of the first item",
    "segments-replace-causal": "segments replace causal",
    "causal-replaces-segments": "causal replaces segments",
}


def same_segment(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    segment_ids: Tensor | None = None,
    is_causal: bool = False,
) -> Tensor:
    """By torch's kernel, with a mask."""
    seen = torch.ones(query.shape[-2], key.shape[-2], dtype=torch.bool)
    seen = seen.tril() if is_causal else seen
    if segment_ids is not None:
        seen = seen & (segment_ids[:, None, :, None] == segment_ids[:, None, None])
    return functional.scaled_dot_product_attention(query, key, value, seen)


def run_by_run(
    query: Tensor, key: Tensor, value: Tensor, is_causal: bool, segment_ids: Tensor | None = None
) -> Tensor:
    """Item by item and segment by segment, where there are any."""
    if segment_ids is None:
        return functional.scaled_dot_product_attention(query, key, value, is_causal=is_causal)
    output = torch.zeros_like(query)
    for item, ids in enumerate(segment_ids):
        for segment in ids.unique():
            at = ids == segment
            parts = (part[item : item + 1, :, at] for part in (query, key, value))
            some = functional.scaled_dot_product_attention(*parts, is_causal=is_causal)
            output[item, :, at] = some[0]
    return output


@cache
def subject(target: Callable[..., Any]) -> Subject:
    return find(target)[0]


def failing(asked: Subject) -> set[str]:
    """The laws about segments that pinned examples break."""
    laws = [c for c in clauses().values() if "takes segments" in c.needs and c.concerns(asked)]
    with quiet_and_repeatable():
        return {
            c.id for c in laws for case in pinned_cases(asked) if judge(c, case).status != "pass"
        }


@pytest.mark.parametrize("target", [same_segment, run_by_run])
def test_a_right_function_holds_the_laws_about_segments(target: Callable[..., Any]) -> None:
    asked = subject(target)
    assert asked.takes["segments"] == "segment_ids"
    assert failing(asked) == set()


@pytest.mark.parametrize("name", NAMES)
def test_a_wrong_function_breaks_them_and_gets_its_name(name: str) -> None:
    asked, law = subject(faults()[name].module), faults()[name].breaks[0]
    with quiet_and_repeatable():
        case = next(c for c in pinned_cases(asked) if judge(clauses()[law], c).status == "fail")
        names = behaves_like(law, case)
        found = script(clauses()[law], case)
        assert found is not None
        with redirect_stdout(StringIO()):
            found.run(same_segment)  # what it claims is true of a right one
    assert [told.partition("; look for ")[0] for told in names] == [NAMES[name]]


def test_an_argument_that_takes_no_segments_is_not_asked_about() -> None:
    """It is said that it keeps its default."""

    def attention(query: Tensor, key: Tensor, value: Tensor, segment_ids: Any = None) -> Tensor:
        if segment_ids is not None:
            raise TypeError(f"segment_ids is {segment_ids}, expected None")
        return functional.scaled_dot_product_attention(query, key, value)

    asked = find(attention)[0]
    assert "segments" not in asked.takes
    assert set(asked.unasked) == {"segment_ids"}
