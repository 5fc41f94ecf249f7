"""Functions and modules that are told the segment of each token."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import redirect_stdout
from functools import cache
from io import StringIO
from typing import Any

import pytest
import torch
from torch import Tensor, nn
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


class PackedAttention(nn.Module):
    """Causal; documents share a row, and a document sees itself alone. A step is a method."""

    def __init__(self, d_model: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(d_model, 3 * d_model)
        self.out_proj = nn.Linear(d_model, d_model)

    def forward(self, x: Tensor, doc_ids: Tensor | None = None) -> Tensor:
        parts = self.qkv(x).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        seen = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).tril()
        if doc_ids is not None:
            seen = self.together(seen, doc_ids)[:, None]
        context = functional.scaled_dot_product_attention(*parts.unbind(), attn_mask=seen)
        return self.out_proj(context.transpose(1, 2).flatten(2))

    def together(self, past: Tensor, ids: Tensor) -> Tensor:
        """(T, T), (B, T) -> (B, T, T), what is seen."""
        return past & (ids[:, :, None] == ids[:, None])


class EarlierDocuments(PackedAttention):
    def together(self, past: Tensor, ids: Tensor) -> Tensor:
        return past & (ids[:, :, None] >= ids[:, None])


class DocumentsOfTheFirstItem(PackedAttention):
    def together(self, past: Tensor, ids: Tensor) -> Tensor:
        return super().together(past, ids[:1].expand_as(ids))


class DocumentsLiftTheMask(PackedAttention):
    def together(self, past: Tensor, ids: Tensor) -> Tensor:
        return ids[:, :, None] == ids[:, None]


class DocumentsOfNobody(PackedAttention):
    def together(self, past: Tensor, ids: Tensor) -> Tensor:
        return past.expand(len(ids), *past.shape)


class DocumentsLessenScores(PackedAttention):
    """Right: of other documents less is seen, as a number says."""

    def together(self, past: Tensor, ids: Tensor) -> Tensor:
        lessened = (ids[:, :, None] != ids[:, None]) * -1.0
        return lessened.masked_fill(~past, -torch.inf)


def test_a_module_that_is_told_segments_is_asked_as_a_function_is() -> None:
    asked = subject(PackedAttention)
    assert asked.takes["segments"] == "doc_ids"
    assert failing(asked) == set()
    assert asked.unasked == {}


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (EarlierDocuments, "earlier segments are seen"),
        (DocumentsOfTheFirstItem, "segments of the first item"),
        (DocumentsLiftTheMask, "segments replace causal"),
    ],
)
def test_a_module_with_wrong_segments_gets_its_name(kind: type[nn.Module], expected: str) -> None:
    """Beside a triangle of its own an argument that is ignored is as one that shows what is earlier."""
    asked = subject(kind)
    law = "packed/a-segment-sees-itself-alone"
    with quiet_and_repeatable():
        case = next(c for c in pinned_cases(asked) if judge(clauses()[law], c).status == "fail")
        names = [told.partition("; look for ")[0] for told in behaves_like(law, case)]
        found = script(clauses()[law], case)
        assert found is not None
        with redirect_stdout(StringIO()):
            found.run(PackedAttention)
    assert expected in names


def test_of_segments_that_make_no_difference_it_is_told_that_they_are_not_asked() -> None:
    """They may be for somebody else, or for a number that is added to scores."""
    for kind in (DocumentsOfNobody, DocumentsLessenScores):
        assert set(subject(kind).unasked) == {"doc_ids"}
