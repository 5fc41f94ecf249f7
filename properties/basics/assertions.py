"""How a clause states what must hold. A broken one explains itself without its source."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from properties.basics.dtypes import Array


@dataclass
class Violation(Exception):
    """A law that does not hold on an example: what was expected, what came, and where."""

    expected: str
    actual: str
    where: dict[str, int]

    def __str__(self) -> str:
        place = ", ".join(f"{axis} {index}" for axis, index in self.where.items())
        return f"expected {self.expected}; got {self.actual}" + (f" at {place}" if place else "")


def near(
    what: str,
    actual: Array,
    expected: Array | float,
    allowed: Array | float | Callable[[], Array],
    axes: str,
) -> float:
    """Every |actual - expected| is at most `allowed`; returns the largest share of it that was used.

    allowed: or what computes it, which is called where something differs; axes: the names of the axes of
    `actual`, for the message: "batch query". Two NaNs or the same infinity on both sides are no
    difference; a NaN or an infinity on one side alone always is.
    """
    expected = np.broadcast_to(expected, actual.shape)
    if (actual == expected).all():  # two comparisons in three, and most of the work is saved
        return 0.0
    allowed = np.broadcast_to(allowed() if callable(allowed) else allowed, actual.shape)
    # An infinite budget times a zero weight is NaN: nothing is claimed there either.
    allowed = np.where(np.isnan(allowed), np.inf, allowed)
    with np.errstate(all="ignore"):
        same = (actual == expected) | (np.isnan(actual) & np.isnan(expected))
        error = np.where(same, 0.0, np.abs(actual - expected))
        share = np.where(error <= allowed, error / np.where(allowed > 0, allowed, 1.0), np.inf)
    share = np.where(np.isinf(allowed), 0.0, share)
    worst = np.unravel_index(int(np.argmax(share)), share.shape)
    if np.isinf(share[worst]):
        # Among the broken entries the one furthest off tells most.
        off = np.where(np.isinf(share), np.nan_to_num(error, nan=np.inf), -1.0)
        worst = np.unravel_index(int(np.argmax(off)), share.shape)
        raise Violation(
            f"{what} {nearly(float(expected[worst]), float(allowed[worst]))}",
            f"{actual[worst]:.9g}",
            dict(zip(axes.split(), map(int, worst), strict=True)),
        )
    return float(share[worst])


def nearly(expected: float, allowed: float) -> str:
    """A number and its allowed error in words; what only underflow could explain is called exact."""
    if allowed > np.finfo(np.float64).tiny:
        return f"{expected:.9g} to within {allowed:.2g}"
    return f"exactly {expected:.9g}"


def first_of(numbers: Array) -> str:
    """The first of some numbers, for a message; nothing where there are none."""
    return "".join(f"{number:.9g}" for number in numbers.flat[:1])


def require(holds: bool, expected: str, actual: str, **where: int) -> None:
    """A law that needs no tolerance."""
    if not holds:
        raise Violation(expected, actual, where)
