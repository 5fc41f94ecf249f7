"""The discriminating conditions that several clauses share, and the views of a case they read."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from properties.case import Case
from properties.devices import with_visible_weights
from properties.spec import Condition

ALIVE = 16  # cases whose derived probes are kept: one is enough for a run, a few for a reduction

SEVERAL_TOKENS = Condition("at least two tokens", lambda case: case.sizes.tokens > 1)
SEVERAL_HEADS = Condition(
    "at least two heads and two tokens",
    lambda case: case.sizes.heads > 1 and case.sizes.tokens > 1,
)
A_FUTURE = Condition(
    "a future that differs from the one it is exchanged for",
    lambda case: bool(np.any(case.x[:, case.cut + 1 :] != case.other[:, case.cut + 1 :])),
)
IN_RANGE = Condition(
    "two tokens or more, and no magnitude leaves the format's range",
    lambda case: case.sizes.tokens > 1 and case.budget.claims,
)


@lru_cache(maxsize=ALIVE)
def visible(case: Case) -> Case:
    """The probe whose output holds the case's attention weights; shared by all who read them."""
    return with_visible_weights(case)
