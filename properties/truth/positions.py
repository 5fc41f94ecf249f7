"""Rotary positions (Su et al., 2021): pairs of columns turned by an angle that grows with position.

Pair i of R columns is turned by position * base**(-2 i / R). A turn keeps lengths, and the product of
a query and a key depends on the difference of their positions alone. Its inverse, which is its
transpose, is the turn by the opposite positions.

Legend: B batch, H heads, T tokens, D head_dim, R the columns that are turned.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from properties.basics.dtypes import Array

Columns = NDArray[np.intp]
Pairing = Literal["halves", "neighbours"]


def rotate(
    x: Array,
    positions: Array,
    pairing: Pairing = "halves",
    base: float = 10000.0,
    portion: float = 1.0,
) -> Array:
    """Turn x (B, H, T, D) at its positions, (T,) or (B, T).

    pairing: column i goes with i + R / 2 ("halves") or 2 i with 2 i + 1 ("neighbours"); portion:
    R / D, the first R columns are turned and the others stay. Raises ValueError where R is odd and
    for an unknown pairing.
    """
    first, second = pairs(x.shape[-1], pairing, portion)
    turned = np.array(x, dtype=np.float64)
    angle = angles(positions, len(first), base)
    cosine, sine = np.cos(angle), np.sin(angle)
    turned[..., first] = x[..., first] * cosine - x[..., second] * sine
    turned[..., second] = x[..., first] * sine + x[..., second] * cosine
    return turned


def unrotate(
    x: Array,
    positions: Array,
    pairing: Pairing = "halves",
    base: float = 10000.0,
    portion: float = 1.0,
) -> Array:
    """The inverse of `rotate` and its transpose: what a gradient goes through."""
    return rotate(x, -np.asarray(positions), pairing, base, portion)


def pairs(head_dim: int, pairing: Pairing, portion: float = 1.0) -> tuple[Columns, Columns]:
    """The first and the second column of each pair, (R / 2,) each, as integers."""
    turned = round(head_dim * portion)
    if turned % 2:
        raise ValueError(f"{turned} columns are to be turned in pairs: expected an even number")
    if pairing == "halves":
        first = np.arange(turned // 2)
        return first, first + turned // 2
    if pairing == "neighbours":
        first = np.arange(0, turned, 2)
        return first, first + 1
    raise ValueError(f"pairing is {pairing!r}, expected 'halves' or 'neighbours'")


def exponents(number: int) -> Array:
    """2 i / R for each pair: what the frequency is the base's negative power of, (R / 2,)."""
    return np.arange(number) / number if number else np.zeros(0)


def angles(positions: Array, number: int, base: float) -> Array:
    """The angle of each pair at each position: (T, R / 2), or (B, 1, T, R / 2) of (B, T)."""
    angle: Array = np.asarray(positions, dtype=np.float64)[..., None] * base ** -exponents(number)
    return angle if angle.ndim == 2 else angle[:, None]


@dataclass(frozen=True, eq=False)
class Rotary:
    """Rotary positions of the queries (T,) and the keys (S,); the rest as in `rotate`."""

    queries: Array
    keys: Array
    pairing: Pairing = "halves"
    base: float = 10000.0
    portion: float = 1.0

    def turn(self, x: Array, positions: Array) -> Array:
        """`rotate`, at these positions."""
        return rotate(x, positions, self.pairing, self.base, self.portion)

    @property
    def inverse(self) -> Rotary:
        """The turn back, which is the transpose."""
        return replace(self, queries=-np.asarray(self.queries), keys=-np.asarray(self.keys))
