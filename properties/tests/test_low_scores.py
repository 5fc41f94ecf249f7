"""Scores that are seen far below zero: what is hidden stays hidden, whatever constant hides it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from attention import CausalAttention
from properties.recognition.targets import find_one
from properties.runs.runner import run
from properties.zoo.faults import faults
from properties.zoo.wide.encoder import PlainEncoder

FUTURE = "causality/low-scores-leave-the-future-hidden"
KEYS = "mask/low-scores-leave-keys-hidden"
PADDING = "mask/low-scores-leave-padding-hidden"


class Filled(PlainEncoder):
    """Hidden scores are -1e4."""

    fill = -1e4

    def hide(self, scores: Tensor, seen: Tensor | None) -> Tensor:
        return scores if seen is None else scores.masked_fill(~seen, self.fill)


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
    found = answers(Filled, KEYS, PADDING)
    assert found == {KEYS: "fail", PADDING: "fail"}


@pytest.mark.parametrize(("fill", "status"), [(-1e4, "fail"), (-torch.inf, "pass")])
def test_the_same_of_a_function(fill: float, status: str) -> None:
    assert answers(with_minus(fill), KEYS) == {KEYS: status}


@pytest.mark.parametrize("right", [PlainEncoder, nn.MultiheadAttention])
def test_the_least_number_and_minus_infinity_hide(right: type[nn.Module]) -> None:
    assert answers(right, KEYS, PADDING) == {KEYS: "pass", PADDING: "pass"}


def test_a_number_below_all_scores_that_were_ever_seen_accuses_nobody() -> None:
    """But in float16, which does not have it."""
    subject = find_one(FilledWithABillion)
    subject.dtypes = ("float64", "float32")
    report = run(subject, profile="quick", only=[PADDING])
    assert {str(r.status) for r in report.results if r.clause == PADDING} == {"pass"}


def test_the_future_that_is_filled_is_found_and_one_that_is_hidden_is_not() -> None:
    fault = faults()["mask-fills-with-minus-ten-thousand"]
    assert answers(fault.module, FUTURE) == {FUTURE: "fail"}
    assert answers(CausalAttention, FUTURE) == {FUTURE: "pass"}
