"""Faults that are put around a library's attention are told, in modules and in functions."""

from __future__ import annotations

import pytest
from torch import Tensor
from torch.nn import functional as F

from properties import check
from properties.recognition.targets import find_one
from properties.runs.runner import run
from properties.survey.faults import FAULTS, Faulty, has_place, injected

SHOWN, SPLIT = "mask/shows-what-it-shows", "heads/split-equals-per-head-matmul"
ODDS, SAME = "weights/log-odds-are-scaled-score-differences", "numerics/deterministic-in-eval"
FUTURE = "causality/future-does-not-change-past"


def of_a_mask(query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None) -> Tensor:
    """Right."""
    return F.scaled_dot_product_attention(query, key, value, attn_mask)


@pytest.mark.parametrize(
    ("target", "fault", "law"),
    [
        ("attention:MultiHeadAttention", "mask off by one", FUTURE),
        (of_a_mask, "scale", SHOWN),
        (of_a_mask, "heads swapped", SHOWN),
        (of_a_mask, "mask off by one", SHOWN),
        (of_a_mask, "dropout in eval", SAME),
    ],
)
def test_a_fault_around_a_right_one_is_told(target: object, fault: str, law: str) -> None:
    """And without it nothing is."""
    found = find_one(target)
    assert has_place(found, fault)
    assert run(injected(found, fault), profile="quick", only=[law]).wrong


def test_what_changes_nothing_is_accused_of_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the fault that is told, and not what carries it."""
    monkeypatch.setitem(FAULTS, "none", Faulty)
    for target in ("attention:MultiHeadAttention", of_a_mask):
        subject = injected(find_one(target), "none")
        assert check(subject, profile="quick", only=[ODDS, SPLIT, SAME]).right


def test_there_is_no_mask_where_nothing_is_hidden() -> None:
    """Then it is said that the fault has no place."""

    def plain(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(q, k, v)

    found = find_one(plain)
    assert not has_place(found, "mask off by one")
    assert has_place(found, "scale")
