"""A scale with a default that divides is a way to say it: found, told and held. Where somebody promises
that it multiplies it is an error.
"""

from __future__ import annotations

from typing import Any

import pytest
from torch import Tensor, nn

from properties import check
from properties.recognition.targets import find_one

DIVIDES = "scale divides the scores: its inverse is what multiplies them"
LAWS = ["score"]


def root_by_default(q: Tensor, k: Tensor, v: Tensor, scale: float | None = None) -> Tensor:
    scale = q.shape[-1] ** 0.5 if scale is None else scale
    return (q @ k.mT / scale).softmax(-1) @ v


def two_ways(q: Tensor, k: Tensor, v: Tensor, scale: float | None = None) -> Tensor:
    """By default the inverse of the root is a factor, which is the same."""
    scores = q @ k.mT
    scores = scores * q.shape[-1] ** -0.5 if scale is None else scores / scale
    return scores.softmax(-1) @ v


class OfScale(nn.Module):
    """Told by its constructor."""

    def __init__(self, scale: float | None = None) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return root_by_default(query, key, value, self.scale)


def multiplied(q: Tensor, k: Tensor, v: Tensor, scale: float | None = None) -> Tensor:
    return (q @ k.mT * (q.shape[-1] ** -0.5 if scale is None else scale)).softmax(-1) @ v


@pytest.mark.parametrize("target", [root_by_default, two_ways, OfScale])
def test_a_scale_that_divides_is_told_and_held(target: Any) -> None:
    assert DIVIDES in find_one(target).notes
    report = check(target, profile="quick", seed=0, only=LAWS)
    assert report.right, report.failed


def test_nothing_is_said_of_one_that_multiplies() -> None:
    assert DIVIDES not in find_one(multiplied).notes


def says_multiplied(q: Tensor, k: Tensor, v: Tensor, scale: float | None = None) -> Tensor:
    """scale: what the scores are multiplied by."""
    return root_by_default(q, k, v, scale)


def as_torch_has_it(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
) -> Tensor:
    scores = query @ key.mT / (query.shape[-1] ** 0.5 if scale is None else scale)
    if attn_mask is not None:
        scores = scores.masked_fill(~attn_mask, float("-inf"))
    if is_causal:
        hidden = scores.new_ones(scores.shape[-2:]).triu(1).bool()
        scores = scores.masked_fill(hidden, float("-inf"))
    return nn.functional.dropout(scores.softmax(-1), dropout_p) @ value


def squared(q: Tensor, k: Tensor, v: Tensor, scale: float | None = None) -> Tensor:
    return root_by_default(q, k, v, None if scale is None else scale**2)


def beside_the_default(q: Tensor, k: Tensor, v: Tensor, scale: float = 1.0) -> Tensor:
    return (q @ k.mT / q.shape[-1] ** 0.5 / scale).softmax(-1) @ v


@pytest.mark.parametrize(
    ("target", "name"),
    [
        (says_multiplied, "scale divides"),
        (as_torch_has_it, "scale divides"),
        (squared, ""),
        (beside_the_default, ""),
    ],
)
def test_one_that_contradicts_what_is_said_is_wrong(target: Any, name: str) -> None:
    report = check(target, profile="quick", seed=0, only=LAWS)
    assert not report.right
    assert name in [finding.name for finding in report.findings] or not name
