"""A function of heads may give rows for tokens, all heads in each: these are split again."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from typing import Any

import pytest
from torch import Tensor, nn

from properties.cases.strategies import pinned_cases
from properties.findings.scripts import script
from properties.recognition.targets import find_one
from properties.runs.runner import run
from properties.runs.tally import judge
from properties.spec.clause import clauses

ODDS = "weights/log-odds-are-scaled-score-differences"
LAWS = [ODDS, "oracle/output-within-bound", "cross/as-many-keys-as-there-are"]


def of_heads_first(query: Tensor, key: Tensor, value: Tensor, mask: Any = None) -> Tensor:
    context = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    return context.transpose(1, 2).flatten(2)


def of_tokens_first(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, None]:
    return of_heads_first(*(part.transpose(1, 2) for part in (query, key, value))), None


def unscaled(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return of_heads_first(query * query.shape[-1] ** 0.5, key, value)


def merged_wrongly(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    context = nn.functional.scaled_dot_product_attention(query, key, value)
    return context.transpose(1, 2).mT.flatten(2)


class SoftmaxAttention(nn.Module):
    """The same without a parameter, for four axes alone."""

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        assert query.ndim == 4
        return of_tokens_first(query, key, value)[0]


@pytest.mark.parametrize("target", [of_heads_first, of_tokens_first, SoftmaxAttention])
def test_who_merges_heads_is_right(target: Callable[..., Any]) -> None:
    report = run(find_one(target), profile="quick", only=LAWS)
    assert [(r.clause, r.status) for r in report.results if r.status != "pass"] == []


def test_masks_are_asked_of_it_as_well() -> None:
    found = find_one(of_heads_first)
    assert found.conventions.mask == "attend"
    assert run(found, profile="quick", only=["mask/shows-what-it-shows"]).right


@pytest.mark.parametrize("target", [unscaled, merged_wrongly])
def test_a_lost_scale_and_heads_that_are_merged_wrongly_are_told(target: Any) -> None:
    assert not run(find_one(target), profile="quick", only=LAWS).right


def test_a_script_splits_the_heads_itself() -> None:
    """The same text fails on the fault and passes on what is right."""
    case = next(
        c for c in pinned_cases(find_one(unscaled)) if judge(clauses()[ODDS], c).status == "fail"
    )
    found = script(clauses()[ODDS], case)
    assert found is not None
    with redirect_stdout(StringIO()):
        with pytest.raises(AssertionError):
            found.run(unscaled)
        found.run(of_heads_first)
