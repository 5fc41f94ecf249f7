"""Which faults a vector tells from what is right: those that are at least 8 bounds away.

In bfloat16, whose bounds are the widest, where that can be; else in the formats in which it is so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from properties.basics.dtypes import FORMATS, Array
from properties.truth.request import Seen
from properties.vectors.call import Parts
from properties.vectors.right import Right
from properties.vectors.vector import Vector
from properties.vectors.wrong import wrong_ones

CLEAR = 8.0
NOTHING = 1e-30  # what no reader would call a difference, however small the bound


@dataclass(frozen=True, eq=False)
class Fault:
    """flag: its name; what it gives, and how many bounds that is from what is right, by format."""

    flag: str
    parts: Parts
    apart: Mapping[str, float]

    @property
    def formats(self) -> tuple[str, ...]:
        """Those in which it is clear."""
        return tuple(name for name, bounds in self.apart.items() if bounds >= CLEAR)


def faults_of(vector: Vector, right: Right) -> list[Fault]:
    """Each fault that is told apart in float32 at least, with each of its variants once."""
    found: list[Fault] = []
    for name, parts in wrong_ones(vector):
        if parts.output.shape != right.parts.output.shape:
            continue
        parts = open_rows(vector, parts)
        apart = {dtype: distance(vector, right, parts, dtype) for dtype in FORMATS}
        if apart["float32"] >= CLEAR and not any(same(name, parts, other) for other in found):
            found.append(Fault(name, parts, apart))
    return found


def open_rows(vector: Vector, parts: Parts) -> Parts:
    """Where no convention is known, what a row gives that sees nothing by a fault is open."""
    if vector.empty:
        return Parts(parts.output, parts.lse, parts.weights, np.zeros_like(parts.nothing))
    return parts


def distance(vector: Vector, right: Right, parts: Parts, dtype: str) -> float:
    """The most bounds that any number is off, where a fault says what it gives."""
    bounds, rows = right.bounds[dtype], parts.nothing
    return max(
        off(
            getattr(parts, name),
            getattr(right.parts, name),
            bounds[name],
            rows if name == "lse" else rows[..., None],
        )
        for name in vector.returned
    )


def off(found: Array, right: Array, bound: Array, nothing: Seen) -> float:
    """How many bounds; infinite for NaN in place of a number, or the other way."""
    with np.errstate(all="ignore"):
        apart = np.abs(found - right) / np.maximum(bound, NOTHING)
        apart = np.where((found == right) | (np.isnan(found) & np.isnan(right)), 0.0, apart)
        apart = np.where(np.isnan(apart), np.inf, apart)
        apart = np.where(np.isinf(bound), 0.0, apart)
    return float(np.where(np.broadcast_to(nothing, apart.shape), 0.0, apart).max(initial=0.0))


def same(name: str, parts: Parts, other: Fault) -> bool:
    """Whether it is a variant that gives the same numbers here."""
    pairs = ((parts.output, other.parts.output), (parts.lse, other.parts.lse))
    return name == other.flag and all(
        np.allclose(a, b, rtol=1e-9, atol=1e-12, equal_nan=True) for a, b in pairs
    )
