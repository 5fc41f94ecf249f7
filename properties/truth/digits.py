"""Arithmetic on nested lists of decimals, which is all that the second oracle computes with."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Context, Decimal
from typing import Any

import numpy as np

from properties.basics.dtypes import Array

DIGITS = 60
PRECISE = Context(prec=DIGITS, Emin=-999999, Emax=999999)
NONE = Decimal("-Infinity")
Vector = list[Decimal]
Matrix = list[Vector]


def dot(left: Sequence[Decimal], right: Sequence[Decimal]) -> Decimal:
    """The sum of products, from the last to the first."""
    total = Decimal(0)
    for a, b in zip(reversed(left), reversed(right), strict=True):
        total += a * b
    return total


def split(rows: Matrix, heads: int) -> list[Matrix]:
    """The columns of each head, head by head."""
    dim = len(rows[0]) // heads
    return [[row[h * dim : (h + 1) * dim] for row in rows] for h in range(heads)]


def decimals(array: Any) -> Any:
    """Every float64 as the decimal that it is exactly, in nested lists."""
    return exactly(np.asarray(array, dtype=np.float64).tolist())


def exactly(numbers: Any) -> Any:
    """Every float of nested lists as the decimal that it is."""
    if isinstance(numbers, float):
        return Decimal(numbers)
    return [exactly(part) for part in numbers]


def rounded(nested: Any) -> Array:
    """Nested lists of decimals as an array."""
    return np.array(nested).astype(np.float64)


def moved(part: Any, direction: Any, step: Decimal) -> Any:
    """Part + step * direction, in nested lists."""
    if isinstance(part, Decimal):
        return part if part == NONE else part + step * direction
    return [moved(*pair, step) for pair in zip(part, direction, strict=True)]


def weighted(part: Any, factors: Any) -> Decimal:
    """The sum of part * factors over nested lists."""
    if isinstance(part, Decimal):
        return part * factors
    pairs = zip(part, factors, strict=True)
    return sum((weighted(*pair) for pair in pairs), Decimal(0))
