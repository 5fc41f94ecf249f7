"""causality/: a token sees itself and what came before, all of it and nothing else."""

from __future__ import annotations

import numpy as np

from properties.assertions import near
from properties.bounds import difference
from properties.case import Case
from properties.clauses.conditions import A_FUTURE
from properties.spec import Level, clause
from properties.subject import CAUSAL_FAMILIES


@clause(
    "causality/future-does-not-change-past",
    Level.MUST,
    "Exchanging the tokens after a position changes no output up to that position.",
    families=CAUSAL_FAMILIES,
    counts=A_FUTURE,
)
def future_does_not_change_past(case: Case) -> float:
    """A hidden key has weight zero, and zero times a finite value adds nothing. Two runs of a right
    implementation may differ by the sum of their error budgets.
    """
    kept = case.cut + 1
    exchanged = np.concatenate([case.x[:, :kept], case.other[:, kept:]], axis=1)
    after, before = case.run(exchanged)[:, :kept], case.output[:, :kept]
    allowed = difference(case)[:, :kept]
    return near("the unchanged", after, before, allowed, "batch token column")
