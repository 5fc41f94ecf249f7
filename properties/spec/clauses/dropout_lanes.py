"""dropout/ over long rows: the same random numbers may come again a tile or some lanes further on.

Legend: T tokens.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from properties.basics.errors import OutsideError, SubjectError
from properties.cases.case import Case
from properties.spec.clause import Level, clause
from properties.spec.clauses.dropout_chance import SHARING
from properties.spec.clauses.dropout_draws import Draws, ask
from properties.truth import chance

TOKENS = 160  # so that enough pairs are 128 apart
PERIODS = (1, 2, 4, 8, 16, 32, 64, 128)  # of lanes and tiles
AXES = ("keys", "queries")


@clause(
    "dropout/independent-across-lanes-and-tiles",
    Level.MUST,
    "What is dropped says nothing about what is dropped 1, 2, 4 or up to 128 keys, or queries, on.",
    needs={"projections", "dropout"},
    after=SHARING,
    examples=4,
)
def independent_across_lanes_and_tiles(case: Case) -> float:
    """A generator that serves 16 lanes, or starts again with every tile, drops key j and key j + 16
    together, always. All scores of 160 tokens are equal and p is 1/2, at which two weights that have
    nothing to do with each other are both kept or both dropped in half of all cases, even where the
    rate is off by a little. Of each distance those pairs are counted that have no weight in common,
    so the count is binomial.
    """

    def law(number: int) -> float:
        d = sample(case, number)
        return max(alike(d, axis) for axis in AXES)

    return chance.confirmed(law)


def sample(case: Case, number: int) -> Draws:
    """One call with equal scores; what has no context_length may refuse so many tokens."""
    try:
        one = replace(case, sizes=replace(case.sizes, heads=1, groups=0))
        return ask(one, 1, TOKENS, 0.5, 1, number)
    except SubjectError as error:
        if case.subject.has("context-length"):
            raise
        raise OutsideError(f"{TOKENS} tokens") from error


def alike(d: Draws, axis: str) -> float:
    """The share for pairs of weights whose keys, or whose queries, are one of the periods apart."""
    bits, seen = along(d, axis)
    counts = [pairs(bits, seen, period) for period in PERIODS]
    shares = (
        chance.rates(
            f"weights dropped or kept together with those {period} {axis} on, at a rate of",
            np.array(hits, float),
            np.array(trials, float),
            0.5,
            others=len(AXES) * len(PERIODS),
        )
        for period, (hits, trials) in zip(PERIODS, counts, strict=True)
    )
    return max(shares)


def along(d: Draws, axis: str) -> tuple[chance.Bits, chance.Bits]:
    """What was dropped, and what was seen, (T, T), the last axis being this one."""
    bits, seen = (part[0, 0, 0] for part in (d.bits, d.seen))
    return (bits, seen) if axis == "keys" else (bits.T, seen.T)


def pairs(bits: chance.Bits, seen: chance.Bits, distance: int) -> tuple[int, int]:
    """How many pairs of columns (T, T) so far apart agree, and how many there are, none overlapping."""
    first = np.arange(TOKENS - distance)
    first = first[first % (2 * distance) < distance]
    both = seen[:, first] & seen[:, first + distance]
    agree = bits[:, first] == bits[:, first + distance]
    return int((agree & both).sum()), int(both.sum())
