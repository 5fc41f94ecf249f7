"""Rotary positions (Su et al., 2021): pairs of columns turned by an angle that grows with position.

Pair i of R columns is turned by position * base**(-2 i / R), or slower, where frequencies are scaled
for longer contexts (linear, NTK, Llama 3, YaRN). A turn keeps lengths, and the product of a query and a
key depends on the difference of their positions alone. Its inverse, which is its transpose, is the turn
by the opposite positions. YaRN multiplies cosines and sines by a gain: then lengths grow by it, the
transpose multiplies by it and the inverse divides.

Legend: B batch, H heads, T tokens, D head_dim, R the columns that are turned.
"""

from __future__ import annotations

from collections.abc import Callable
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
    first, _ = pairs(x.shape[-1], pairing, portion)
    return turned_by(x, angles(positions, len(first), base), pairing, portion)


def turned_by(x: Array, angle: Array, pairing: Pairing, portion: float, gain: float = 1.0) -> Array:
    """Turn x (B, H, T, D) by angles (T, R / 2) or (B, 1, T, R / 2), cosines and sines times the gain."""
    first, second = pairs(x.shape[-1], pairing, portion)
    turned = np.array(x, dtype=np.float64)
    cosine, sine = gain * np.cos(angle), gain * np.sin(angle)
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


def base_powers(base: float, number: int) -> Array:
    """base**(-2 i / R) for each pair, (R / 2,)."""
    powers: Array = base ** -exponents(number)
    return powers


def angles(positions: Array, number: int, base: float) -> Array:
    """The angle of each pair at each position: (T, R / 2), or (B, 1, T, R / 2) of (B, T)."""
    return laid(positions, base_powers(base, number))


def laid(positions: Array, frequencies: Array) -> Array:
    """Angles of pairs with these frequencies, (R / 2,), at each position, in the shapes of `angles`."""
    angle: Array = np.asarray(positions, dtype=np.float64)[..., None] * frequencies
    return angle if angle.ndim == 2 else angle[:, None]


@dataclass(frozen=True, eq=False)
class Slowed:
    """Frequencies as shares of base**(-2 i / R), (R / 2,); off: how far they may be known wrongly, in
    radians for each position.
    """

    shares: Array
    off: float = 0.0


Slowing = Callable[[int], Slowed]
"""The frequencies for a number of pairs, R / 2."""


@dataclass(frozen=True)
class Evenly:
    """All frequencies times one share: positions divided by a factor."""

    share: float

    def __call__(self, number: int) -> Slowed:
        """(R / 2,), the same share for each pair."""
        return Slowed(np.full(number, self.share))


@dataclass(frozen=True, eq=False)
class Rotary:
    """Rotary positions of the queries (T,) and the keys (S,); the rest as in `rotate`.

    slowing: frequencies where they are not base**(-2 i / R); gain: what cosines and sines are
    multiplied by.
    """

    queries: Array
    keys: Array
    pairing: Pairing = "halves"
    base: float = 10000.0
    portion: float = 1.0
    slowing: Slowing | None = None
    gain: float = 1.0

    def turn(self, x: Array, positions: Array) -> Array:
        """`rotate`, at these positions."""
        first, _ = pairs(x.shape[-1], self.pairing, self.portion)
        angle = self.angles(positions, len(first))
        return turned_by(x, angle, self.pairing, self.portion, self.gain)

    def angles(self, positions: Array, number: int) -> Array:
        """The angle of each pair at each position, see the function of this name."""
        return laid(positions, base_powers(self.base, number) * self.slowed(number).shares)

    def slowed(self, number: int) -> Slowed:
        """The shares of so many pairs; ones where nothing is slowed."""
        return Slowed(np.ones(number)) if self.slowing is None else self.slowing(number)

    @property
    def transpose(self) -> Rotary:
        """The turn back, as a gradient takes it."""
        return replace(self, queries=-np.asarray(self.queries), keys=-np.asarray(self.keys))

    @property
    def inverse(self) -> Rotary:
        """The turn back to what was turned: the transpose, but for the gain."""
        return replace(self.transpose, gain=1.0 / self.gain)
