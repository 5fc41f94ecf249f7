"""Turns by scaled frequencies: a factor that is applied once too often, to one side, or in whole steps.

Legend: D head_dim.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from properties.cases.case import Case
from properties.findings.names.catalogue.turns import (
    BOTH,
    KEYS,
    QUERIES,
    Change,
    Turned,
    at,
    by,
    counted,
    enter,
)
from properties.subjects.positions import Positions
from properties.truth.bounds import Near
from properties.truth.positions import Slowed, Slowing

SCALING = "where positions are divided by a factor, or frequencies multiplied: in one place"
GAIN = "which of queries, keys and scores are multiplied by the attention factor"
FACTORS = (2, 4, 8, 16)


class Slower(Turned):
    """A formula for subjects whose frequencies are scaled."""

    @classmethod
    def fits(cls, case: Case) -> bool:
        """Whether any is."""
        positions = case.subject.positions
        return super().fits(case) and positions is not None and positions.slowing is not None


class Gained(Turned):
    """A formula for subjects with an attention factor on cosines and sines."""

    @classmethod
    def fits(cls, case: Case) -> bool:
        """Whether it is another than 1."""
        positions = case.subject.positions
        return super().fits(case) and positions is not None and positions.gain != 1.0


def changing(
    called: str,
    look: str,
    change: Change,
    which: tuple[bool, bool],
    kind: type[Turned] = Turned,
) -> None:
    """Enter such a turn of queries, keys or both, of a kind of subjects."""

    @enter(called, look)
    class Otherwise(kind):  # type: ignore[misc,valid-type]
        """What is not named is turned as it should be."""

        def turned_queries(self, queries: Near) -> Near:
            return change(self, queries) if which[0] else self.turned(queries)

        def turned_keys(self, keys: Near) -> Near:
            return change(self, keys) if which[1] else self.turned(keys)


def twice(convention: Positions) -> Positions:
    """Every share squared."""
    slowing = convention.slowing
    assert slowing is not None  # else it does not fit
    return replace(convention, slowing=squared(slowing))


def squared(slowing: Slowing) -> Slowing:
    """The same scaling of what it has scaled."""

    def of(number: int) -> Slowed:
        once = slowing(number)
        return Slowed(once.shares**2, 2.0 * once.off)

    return of


def divided(factor: int) -> Change:
    """Positions over a factor."""
    return at(lambda formula: counted(formula) / factor)


def in_steps(factor: int) -> Change:
    """The same, rounded down."""
    return at(lambda formula: np.floor(counted(formula) / factor))


def times_gain(power: float) -> Change:
    """By cosines and sines with another power of the gain."""
    return by(lambda convention: replace(convention, gain=convention.gain**power))


changing("frequencies scaled twice", SCALING, by(twice), BOTH, Slower)
changing("frequencies not scaled", SCALING, by(lambda c: replace(c, slowing=None)), BOTH, Slower)
for name, which in {"queries": QUERIES, "keys": KEYS}.items():
    for factor in FACTORS:
        changing(f"positions of {name} alone divided by {factor}", SCALING, divided(factor), which)
changing("attention factor on one of queries and keys", GAIN, times_gain(0.0), KEYS, Gained)
changing("attention factor applied twice", GAIN, times_gain(2.0), BOTH, Gained)
for factor in (2, 4):  # more of them are told from no turn in long examples alone
    changing(f"{factor} tokens at each position", SCALING, in_steps(factor), BOTH)
