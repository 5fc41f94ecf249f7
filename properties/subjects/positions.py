"""Where tokens stand, for subjects whose queries and keys are turned by it (rotary positions).

Legend: T queries, S keys, D head_dim, R the columns that are turned.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal

import numpy as np

from properties.basics.dtypes import Array
from properties.subjects.growth import Growth
from properties.truth.positions import Evenly, Pairing, Rotary, Slowing

Direction = Literal["forwards", "backwards"]
Way = Literal["unturned", "from the start", "to the end"]
"""How queries meet the tokens of a context: neither is turned; both are, by places of their own that are
counted from 0; or the last query stands where the last token of the context does."""


@dataclass(frozen=True)
class Positions:
    """A convention of rotary positions: pair i is turned by position * base**(-2 i / R).

    pairing: which columns make a pair, see `truth.positions.rotate`; portion: R / D; direction:
    "backwards" turns by minus the angle; known: whether the subject follows it, else it is the nearest
    of the known ones, to which it is held; exact: whether angles are computed in float64 where all else
    is, not in float32; coarse: the formats in which they are computed in that very format; slowing,
    gain: see `truth.positions.Rotary`; growth: how longer sequences than a module is made for are turned,
    None: as all others.
    """

    pairing: Pairing = "halves"
    base: float = 10000.0
    portion: float = 1.0
    direction: Direction = "forwards"
    known: bool = True
    exact: bool = True
    coarse: tuple[str, ...] = ()
    slowing: Slowing | None = None
    gain: float = 1.0
    growth: Growth | None = None

    def beyond(self, tokens: int, length: int, head_dim: int) -> Positions:
        """The convention for T tokens of a module that is made for `length`, a smaller number."""
        if self.growth is None or tokens <= length:
            return self
        turned = round(head_dim * self.portion)
        base = self.growth.base(self.base, turned, tokens, length)
        share = self.growth.share(tokens, length)
        return replace(self, base=base, slowing=Evenly(share) if share < 1.0 else self.slowing)

    def rotary(self, queries: int, keys: int | None = None, start: int = 0) -> Rotary:
        """The turn of T queries and S keys (as many unless given), both counted from `start`."""
        keys = queries if keys is None else keys
        return self.at(start + np.arange(float(queries)), start + np.arange(float(keys)))

    def between(self, way: Way, queries: int, keys: int) -> Rotary | None:
        """The turn of T queries and of the S tokens of a context that meet in such a way."""
        if way == "unturned":
            return None
        first = keys - queries if way == "to the end" else 0
        return self.at(first + np.arange(float(queries)), np.arange(float(keys)))

    def at(self, queries: Array, keys: Array) -> Rotary:
        """The turn of queries and keys at these positions, (T,) and (S,), or (B, T) and (B, S)."""
        sign = -1.0 if self.direction == "backwards" else 1.0
        return Rotary(
            sign * queries,
            sign * keys,
            self.pairing,
            self.base,
            self.portion,
            self.slowing,
            self.gain,
        )

    def angles(self, dtype: str) -> str:
        """The format in which angles are computed where the subject runs in `dtype`."""
        if dtype == "float64":
            return "float64" if self.exact else "float32"
        return dtype if dtype in self.coarse else "float32"

    def off(self, head_dim: int) -> float:
        """How far the frequencies may be known wrongly, in radians for each position."""
        if self.slowing is None:
            return 0.0
        return self.slowing(round(head_dim * self.portion) // 2).off

    @property
    def multiple(self) -> int:
        """What head_dim has to be a multiple of, so that R is a whole number of pairs."""
        return next(n for n in range(2, 65, 2) if (n * self.portion) % 2 == 0)

    @property
    def words(self) -> str:
        """The convention in a few words: 'halves, base 10000, whole head'."""
        part = "whole head" if self.portion == 1 else f"{self.portion:g} of a head"
        backwards = ", backwards" if self.direction == "backwards" else ""
        grows = "" if self.growth is None else f", {self.growth.words}"
        said = f"{self.pairing}, base {self.base:g}, {part}{backwards}{self.scaling}{grows}"
        return said if self.known else f"none of the known ones, held to {said}"

    @property
    def scaling(self) -> str:
        """How frequencies and lengths are scaled, in words; "" where they are not."""
        gain = "" if self.gain == 1 else f", cosines and sines times {self.gain:.6g}"
        if self.slowing is None:
            return gain
        if isinstance(self.slowing, Evenly):
            return f", frequencies scaled by {fraction(self.slowing.share)}{gain}"
        return f", other frequencies than base**(-2 i / R){gain}"


def fraction(share: float) -> str:
    """'1/4', or '0.3' where it is no quotient of small numbers."""
    close = Fraction(share).limit_denominator(1000)
    return str(close) if abs(float(close) - share) < 1e-9 * share else f"{share:.6g}"
