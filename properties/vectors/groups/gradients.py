"""Gradients of sum(upstream * output) by queries, keys and values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from properties.vectors.exact import drawn
from properties.vectors.groups import group, vector
from properties.vectors.vector import Vector


def with_upstream(number: int, comment: str, **told: Any) -> Vector:
    """A vector whose outputs are weighed by small integers."""
    one = vector(number, comment, **told)
    shape = (*one.queries.integers.shape[:3], one.values.integers.shape[3])
    return replace(one, upstream=drawn(f"{number}/upstream", shape, 4, 0.5))


@group("gradients", "The gradients of sum(upstream * output) by queries, keys and values.")
def gradients() -> Iterator[Vector]:
    """What the backward pass does by itself."""
    small = {"B": 1, "T": 2, "S": 3, "E": 3}
    yield with_upstream(701, "all sizes differ", **small)
    yield with_upstream(702, "two items, three heads", B=2, H=3, T=2, S=3, E=3)
    yield with_upstream(703, "causal", **(small | {"T": 3}), causal=True)
    yield with_upstream(704, "shared heads", **small, H=4, G=2)
    yield with_upstream(705, "a scale", **small, scale=2.0, loud=0.125)
    yield with_upstream(706, "a cap below the scores", **small, cap=1.0, loud=1.0)
    mask = np.array([[True, False, True], [False, True, True]])[None, None]
    yield with_upstream(707, "a mask", **small, mask=mask)


@group(
    "gradients-empty-rows",
    "Gradients beside a query that sees nothing: zero, and no NaN.",
    empty="zeros",
)
def empty_rows() -> Iterator[Vector]:
    """A query that sees nothing has no influence and no gradient."""
    mask = np.array([[False, False, False], [True, False, True]])[None, None]
    yield with_upstream(721, "the first query sees nothing", B=1, T=2, S=3, E=3, mask=mask)
