"""Frequencies other than base**(-2 i / R): scaled for longer contexts, evenly or pair by pair.

Linear scaling divides positions by a factor (kaiokendev, Chen et al. 2023); NTK scaling changes the base
with head_dim (bloc97); Llama 3 slows long wavelengths alone; YaRN (Peng et al., 2023) slows by a ramp
and multiplies cosines and sines by an attention factor. Each makes pairs slower, none faster.

Legend: D head_dim, R the columns that are turned.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from properties.basics.dtypes import Array
from properties.recognition.turning.looks import Look
from properties.recognition.turning.measured import (
    BASES,
    LEAST_BASE,
    PORTIONS,
    Build,
    Measured,
)
from properties.recognition.turning.paces import AsMeasured, Pace, pace
from properties.subjects.positions import Positions
from properties.truth.positions import Evenly, Pairing, Slowing, base_powers, exponents

HEAD_DIMS = (16, 32)  # what changes with head_dim shows in two of them
SAME = 1e-4  # of a frequency or a length: what is nearer is not told apart
CLOSE = 1e-6  # of a factor or a base that is read as a short number
PAIRED = 0.05  # of the scores: what no turn of these pairs explains, if they are the pairs
WHOLE = 100  # quotients of numbers up to this are read as such


@dataclass(frozen=True, eq=False)
class Trial:
    """Paces for each of `HEAD_DIMS`, of pairs that are turned by some angle for each position."""

    build: Build
    dtype: str
    pairing: Pairing
    portion: float
    paces: Sequence[Pace]

    def shares(self, base: float) -> list[Array]:
        """The frequencies over base**(-2 i / R), whichever way they turn."""
        return [np.abs(p.frequencies) / base_powers(base, len(p.frequencies)) for p in self.paces]

    def follow(self, base: float, share: float = 1.0) -> bool:
        """Whether all are this share of that base's."""
        wrong = [np.abs(shares / share - 1.0).max() for shares in self.shares(base)]
        return max(wrong) < SAME

    @property
    def backwards(self) -> bool | None:
        """Whether pairs turn by minus the angle; None where some do, or where nothing turns."""
        fast = [p.frequencies[np.abs(p.frequencies) > 2.0 * p.off] for p in self.paces]
        signs = {bool(each) for frequencies in fast for each in frequencies < 0.0}
        return signs.pop() if len(signs) == 1 and all(len(each) for each in fast) else None


def scaled(
    build: Build, dtype: str, seen: Look, known: Positions | None, scores: Measured
) -> Positions | None:
    """The convention with the frequencies that are found; `known` where it has them, or no trial tells.

    known: the convention that all scores follow more or less, None if there is none.
    """
    for pairing, portion in ways(known, scores):
        paces = [pace(build, dtype, head_dim, pairing, portion) for head_dim in HEAD_DIMS]
        if found := [each for each in paces if each is not None]:
            trial = Trial(build, dtype, pairing, portion, found)
            return told(trial, seen, known) if len(found) == len(paces) else known
    return known


def ways(known: Positions | None, scores: Measured) -> Iterator[tuple[Pairing, float]]:
    """Which columns make pairs, as the scores may be explained; the fewest columns first."""
    if known is not None:
        yield known.pairing, known.portion
        return
    for portion in sorted(PORTIONS):
        for pairing in ("halves", "neighbours"):
            if scores.spread(pairing, portion) < PAIRED:
                yield pairing, portion


def told(trial: Trial, seen: Look, known: Positions | None) -> Positions | None:
    """The convention of these paces."""
    backwards = trial.backwards
    if backwards is None:
        return known
    like = Positions(trial.pairing, 0.0, trial.portion, "backwards" if backwards else "forwards")
    like = replace(like, gain=gain(trial, seen))
    bases = [known.base] if known else []
    bases += [seen.base] if seen.base else BASES
    if (base := next(filter(trial.follow, bases), None)) or (base := own_base(trial)):
        return replace(like, base=base)
    for base in bases:
        if share := even_share(trial, base):
            return once(replace(like, base=base, slowing=Evenly(share)), share, seen)
    for base in bases:
        shares = trial.shares(base)
        if max(each.max() for each in shares) < 1.0 + SAME:
            build, dtype = trial.build, trial.dtype
            slowing = AsMeasured(build, dtype, trial.pairing, trial.portion, base)
            return once(replace(like, base=base, slowing=slowing), shares[0].min(), seen)
    return known


def own_base(trial: Trial) -> float | None:
    """The base that all frequencies follow, to nine digits; None where there is none."""
    frequencies = np.abs(trial.paces[-1].frequencies)
    slowest, power = frequencies[-1], exponents(len(frequencies))[-1]
    if not 0.0 < slowest < 1.0 or not power:
        return None
    base = float(f"{slowest ** (-1.0 / power):.9g}")
    short = float(f"{base:.6g}")
    base = short if abs(short / base - 1.0) < 10.0 * CLOSE else base
    return base if base >= LEAST_BASE and trial.follow(base) else None


def even_share(trial: Trial, base: float) -> float:
    """The one share below 1 that all frequencies are of this base's, a quotient; 0 where there is none."""
    first = float(trial.shares(base)[0][0])
    share = Fraction(first).limit_denominator(WHOLE)
    if not 0 < share < 1 or abs(float(share) / first - 1.0) > CLOSE + trial.paces[0].off:
        return 0.0
    return float(share) if trial.follow(base, float(share)) else 0.0


def once(positions: Positions, least: float, seen: Look) -> Positions:
    """The same, or, where frequencies are scaled by the square of a factor that the module states, what
    it is held to: scaled once.
    """
    stated = [factor for factor in seen.factors if factor > 1.0]
    if any(near(least * factor, 1.0) for factor in stated):
        return positions
    if not any(near(least * factor**2, 1.0) for factor in stated):
        return positions
    slowing: Slowing | None = positions.slowing
    if isinstance(slowing, Evenly):
        slowing = Evenly(float(np.sqrt(slowing.share)))
    elif isinstance(slowing, AsMeasured):
        slowing = replace(slowing, power=0.5, known={})
    return replace(positions, slowing=slowing, known=False)


def gain(trial: Trial, seen: Look) -> float:
    """What cosines and sines are multiplied by, where the module states it; 1 where it is not to be seen.

    A module that multiplies once too often, or queries or keys alone, is held to what it states.
    """
    one, *others = [each.strength for each in trial.paces]
    if all(near(one, other) for other in others):
        for stated in seen.gains:
            if any(near(one, stated**power) for power in (2, 1, 4)):
                return stated
    return 1.0


def near(one: float, other: float) -> bool:
    """Whether two numbers are equal, as nearly as trials tell."""
    return abs(one / other - 1.0) < SAME
