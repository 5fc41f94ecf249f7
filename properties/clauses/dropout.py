"""dropout/: in training some weights vanish and the others grow to make up for them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from properties import bounds
from properties.assertions import near
from properties.case import Case
from properties.clauses.conditions import ALIVE, SEVERAL_TOKENS, visible
from properties.devices import read_weights
from properties.dtypes import Array
from properties.spec import Level, clause


@dataclass(frozen=True, eq=False)
class Training:
    """The attention weights of one training run beside the subject's own in eval, (B, H, T, T).

    Comparing a subject with itself keeps a wrong scale or mask out of the laws about dropout.
    """

    drawn: Array
    undropped: Array
    allowed: Array

    @property
    def dropped(self) -> Array:
        """Which weights look dropped: below half of the least that rounding can leave of them."""
        return abs(self.drawn) < 0.5 * (self.undropped - self.allowed)


@lru_cache(maxsize=ALIVE)
def training(case: Case) -> Training:
    """One training run at the case's probability, its weights made visible."""
    probe = visible(case)
    output = probe.run(training=True, dropout=case.dropout)
    return Training(
        drawn=read_weights(probe, output),
        undropped=read_weights(probe, probe.output),
        allowed=read_weights(probe, bounds.difference(probe)),
    )


@clause(
    "dropout/survivors-are-exactly-scaled",
    Level.MUST,
    "In training a weight that is not dropped is multiplied by 1 / (1 - p).",
    needs={"projections", "dropout"},
    counts=SEVERAL_TOKENS,
)
def survivors_are_exactly_scaled(case: Case) -> float:
    """Inverted dropout: the expectation stays the weight itself, so eval needs no factor."""
    run = training(case)
    scaled = run.undropped / (1.0 - case.dropout)
    expected = np.where(run.dropped, run.drawn, scaled)
    allowed = bounds.survivors(run.undropped, run.allowed, case.dropout, case.dtype)
    return near("a surviving weight of", run.drawn, expected, allowed, "batch head query key")


@clause(
    "dropout/dropped-are-exactly-zero",
    Level.MUST,
    "In training a weight that is dropped is exactly zero.",
    needs={"projections", "dropout"},
    counts=SEVERAL_TOKENS,
)
def dropped_are_exactly_zero(case: Case) -> float:
    """A product by zero is exact, so there is no tolerance."""
    run = training(case)
    return near("a dropped weight of", run.drawn * run.dropped, 0.0, 0.0, "batch head query key")


@clause(
    "dropout/inert-in-eval",
    Level.MUST,
    "In eval mode the output does not depend on the dropout probability.",
    needs={"dropout"},
)
def inert_in_eval(case: Case) -> float:
    """Dropout belongs to training. The output at probability p is what it is at p = 0, and drawing
    again does not change it.
    """
    worst = 0.0
    for seed in (case.seed, case.seed + 1):
        output = case.run(dropout=case.dropout, seed=seed)
        what = f"without dropout (p = {case.dropout})"
        share = near(what, output, case.output, bounds.difference(case), "batch token column")
        worst = max(worst, share)
    return worst
