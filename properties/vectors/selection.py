"""Which faults a vector tells from what is right: those that are at least 8 bounds away.

In bfloat16, whose bounds are the widest, where that can be; else in the formats in which it is so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from properties.basics.dtypes import FORMATS, Array
from properties.truth.request import Seen
from properties.vectors.call import Parts
from properties.vectors.right import Right
from properties.vectors.vector import Vector
from properties.vectors.wrong import wrong_ones

CLEAR = 8.0
NOTHING = 1e-30  # what no reader would call a difference, however small the bound
FINE = {"scale off by a millionth"}
"""Known faults that are told in float64 alone."""


@dataclass(frozen=True, eq=False)
class Fault:
    """flag: its name; what it gives, and how many bounds that is from what is right, by format."""

    flag: str
    parts: Parts
    apart: Mapping[str, float]


def faults_of(vector: Vector, right: Right) -> list[Fault]:
    """Each fault that is told apart in float32 at least, with each of its variants once; those of `FINE`
    in float64.
    """
    found: list[Fault] = []
    for name, parts in wrong_ones(vector):
        if parts.output.shape != right.parts.output.shape:
            continue
        parts = open_rows(vector, parts)
        apart = distances(vector, right, parts)
        clear = apart["float64" if name in FINE else "float32"] >= CLEAR
        if clear and not any(same(name, parts, other) for other in found):
            found.append(Fault(name, parts, apart))
    return found


def open_rows(vector: Vector, parts: Parts) -> Parts:
    """Where no convention is known, what a row gives that sees nothing by a fault is open."""
    return replace(parts, nothing=np.zeros_like(parts.nothing)) if vector.empty else parts


def distances(vector: Vector, right: Right, parts: Parts) -> dict[str, float]:
    """The most bounds that any number is off, where a fault says what it gives, by format."""
    found = dict.fromkeys(FORMATS, 0.0)
    for name in vector.returned:
        nothing = parts.nothing if name == "lse" else parts.nothing[..., None]
        apart = far(getattr(parts, name), getattr(right.parts, name), nothing)
        for dtype in FORMATS:
            found[dtype] = max(found[dtype], off(apart, right.bounds[dtype][name]))
    return found


def far(found: Array, right: Array, nothing: Seen | bool = False) -> Array:
    """How far apart numbers are; infinitely, where one of them alone is NaN; 0 where nothing is said."""
    with np.errstate(all="ignore"):
        apart = np.abs(found - right)
    same = (found == right) | (np.isnan(found) & np.isnan(right)) | nothing
    apart[np.isnan(apart)] = np.inf
    apart[same] = 0.0
    return apart


def off(apart: Array, bound: Array) -> float:
    """The most bounds; none where nothing is claimed of some number, as a file then claims nothing."""
    if not np.isfinite(bound).all():
        return 0.0
    with np.errstate(all="ignore"):
        shares = apart / np.maximum(bound, NOTHING)
    return float(np.where(np.isnan(shares), 0.0, shares).max(initial=0.0))


def same(name: str, parts: Parts, other: Fault) -> bool:
    """Whether it is a variant that gives the same numbers here."""
    pairs = ((parts.output, other.parts.output), (parts.lse, other.parts.lse))
    return name == other.flag and all(
        np.allclose(a, b, rtol=1e-9, atol=1e-12, equal_nan=True) for a, b in pairs
    )
