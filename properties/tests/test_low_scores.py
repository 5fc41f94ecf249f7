"""Scores far from zero: what is hidden stays hidden, whatever number hides it. One that shows below -10000
alone is told as an edge, one that shows at -1024 as wrong.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from attention import CausalAttention
from properties import check
from properties.recognition.targets import find_one
from properties.reports import terminal
from properties.runs.runner import run
from properties.zoo.faults import faults
from properties.zoo.faults.plain import PlainMultiHead
from properties.zoo.wide.encoder import PlainEncoder

FUTURE = "causality/low-scores-leave-the-future-hidden"
KEYS = "mask/low-scores-leave-keys-hidden"
PADDING = "mask/low-scores-leave-padding-hidden"
LOWEST_FUTURE, LOWEST_KEYS, LOWEST_PADDING = (
    clause.replace("/low-", "/lowest-") for clause in (FUTURE, KEYS, PADDING)
)
END = "causality/future-at-the-end-of-the-range-stays-out"


class Filled(PlainEncoder):
    """Hidden scores are -1e4."""

    fill = -1e4

    def hide(self, scores: Tensor, seen: Tensor | None) -> Tensor:
        return scores if seen is None else scores.masked_fill(~seen, self.fill)


class FilledWithAThousand(Filled):
    """Higher than scores that a softmax has to withstand."""

    fill = -1e3


class FilledWithABillion(Filled):
    """Lower than any score that was seen."""

    fill = -1e9


def with_minus(fill: float) -> object:
    """A function whose mask of booleans fills in a number."""

    def attention(
        query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None
    ) -> Tensor:
        scores = query @ key.mT / query.shape[-1] ** 0.5
        if attn_mask is not None:
            scores = scores.masked_fill(~attn_mask, fill)
        return scores.softmax(dim=-1) @ value

    return attention


def answers(target: object, *ids: str) -> dict[str, str]:
    """The status of these clauses."""
    report = run(find_one(target), profile="quick", only=ids)
    return {r.clause: str(r.status) for r in report.results if r.clause in ids}


def test_a_fill_of_minus_ten_thousand_is_found_where_all_scores_that_are_seen_are_lower() -> None:
    found = answers(Filled, KEYS, PADDING, LOWEST_KEYS, LOWEST_PADDING)
    assert found == {KEYS: "pass", PADDING: "pass", LOWEST_KEYS: "fail", LOWEST_PADDING: "fail"}


def test_a_fill_of_minus_a_thousand_is_found_at_scores_that_must_be_withstood() -> None:
    assert answers(FilledWithAThousand, KEYS, PADDING) == {KEYS: "fail", PADDING: "fail"}


@pytest.mark.parametrize(
    ("fill", "low", "lowest"),
    [(-1e3, "fail", "blocked"), (-1e4, "pass", "fail"), (-torch.inf, "pass", "pass")],
)
def test_the_same_of_a_function(fill: float, low: str, lowest: str) -> None:
    found = answers(with_minus(fill), KEYS, LOWEST_KEYS)
    assert found == {KEYS: low, LOWEST_KEYS: lowest}


def lowered(number: float) -> type[nn.Module]:
    """A causal module that adds a number to hidden scores."""

    class Lowered(PlainMultiHead):
        def hide(self, scores: Tensor) -> Tensor:
            return scores + number * self.hidden(scores.shape[-1]).to(scores.dtype)

    return Lowered


@pytest.mark.parametrize("number", [-1e4, -1e9])
def test_a_number_that_shows_at_scores_of_thousands_alone_is_an_edge(number: float) -> None:
    """Told, by its name, and no part of the verdict."""
    report = check(lowered(number), "multihead", "quick", seed=0)
    assert report.right, report.failed
    assert (report.exit_code, replace(report, strict=True).exit_code) == (0, 1)
    said = terminal.verdict(report)[0]
    assert said.count("edge: what is hidden scores a number, not minus infinity") == 1
    edges = [finding for finding in report.findings if finding.kind == "edge"]
    assert f"{-number:g} subtracted from hidden scores, not infinity" in [e.name for e in edges]


@pytest.mark.parametrize("number", [-1.0, -10.0, -100.0, -1000.0])
def test_a_number_that_shows_at_scores_of_a_thousand_is_wrong(number: float) -> None:
    report = check(lowered(number), "multihead", "quick", seed=0, only=["causality", "weights"])
    assert not report.right


@pytest.mark.parametrize("right", [PlainEncoder, nn.MultiheadAttention])
def test_the_least_number_and_minus_infinity_hide(right: type[nn.Module]) -> None:
    asked = (KEYS, PADDING, LOWEST_KEYS, LOWEST_PADDING)
    assert answers(right, *asked) == dict.fromkeys(asked, "pass")


def test_a_number_below_all_scores_that_were_ever_seen_accuses_nobody() -> None:
    """But in float16, which does not have it."""
    subject = find_one(FilledWithABillion)
    subject.dtypes = ("float64", "float32")
    report = run(subject, profile="quick", only=[LOWEST_PADDING])
    assert {str(r.status) for r in report.results if r.clause == LOWEST_PADDING} == {"pass"}


def test_the_future_that_is_filled_is_found_and_one_that_is_hidden_is_not() -> None:
    fault = faults()["mask-fills-with-minus-ten-thousand"]
    assert answers(fault.module, FUTURE, LOWEST_FUTURE) == {FUTURE: "pass", LOWEST_FUTURE: "fail"}
    asked = (FUTURE, LOWEST_FUTURE, END)
    assert answers(CausalAttention, *asked) == dict.fromkeys(asked, "pass")
