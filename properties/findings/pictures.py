"""A grid of numbers as it should be and as it is, with the cells that are off."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from properties.basics.dtypes import Array


@dataclass(frozen=True, eq=False)
class Picture:
    """One grid of numbers, as it should be and as it is; `allowed` is how far they may be apart."""

    kind: str
    title: str
    rows: str
    columns: str
    expected: Array
    actual: Array
    allowed: Array

    @property
    def off(self) -> NDArray[np.bool_]:
        """The cells that no rounding explains."""
        return off(self.actual, self.expected, self.allowed)

    def data(self) -> dict[str, Any]:
        """Plain data; what JSON has no number for is written out."""
        return {
            "kind": self.kind,
            "title": self.title,
            "rows": self.rows,
            "columns": self.columns,
            "expected": plain(self.expected),
            "actual": plain(self.actual),
            "off": np.argwhere(self.off).tolist(),
        }


def worst(cells: NDArray[np.bool_]) -> tuple[int, ...]:
    """The grid, by its leading axes, that has the most of these cells."""
    counts = cells.sum(axis=(-2, -1))
    return tuple(map(int, np.unravel_index(int(np.argmax(counts)), counts.shape)))


def off(actual: Array, expected: Array, allowed: Array) -> NDArray[np.bool_]:
    """Where the difference exceeds what is allowed; a NaN or an infinity on one side always does."""
    with np.errstate(all="ignore"):
        same = (actual == expected) | (np.isnan(actual) & np.isnan(expected))
        near = same | (np.abs(actual - expected) <= allowed)
    wrong: NDArray[np.bool_] = np.isfinite(allowed) & ~near
    return wrong


def plain(grid: Array) -> list[list[float | str]]:
    """The numbers of a grid; NaN and the infinities as text."""
    return [[float(n) if np.isfinite(n) else str(float(n)) for n in row] for row in grid]
