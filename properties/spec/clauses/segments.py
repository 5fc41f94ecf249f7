"""packed/, of segments: tokens that lie in one row, each with the number of its segment.

Legend: B batch, T tokens, as many queries as keys.
"""

from __future__ import annotations

import numpy as np

from properties.cases.case import Case
from properties.cases.question import Question, question
from properties.spec.clause import Condition, Level, clause

ALONE = "packed/a-segment-sees-itself-alone"
SEGMENTS = {"takes segments"}


def several(case: Case) -> bool:
    """Whether a row holds two segments."""
    return case.call is not None and bool((np.ptp(case.call.arrays["segments"], axis=1) > 0).any())


SEVERAL = Condition("two segments in a row", several)


@clause(
    ALONE,
    Level.MUST,
    "A query sees the keys of its own segment and no others.",
    needs=SEGMENTS,
    counts=SEVERAL,
)
def alone(case: Case) -> float:
    """Segments of several lengths, others in each item."""
    return segmented(case).agrees()


@clause(
    "packed/segments-join-the-causal-flag",
    Level.MUST,
    "Segments and the causal flag hide together: neither takes the other's place.",
    needs=SEGMENTS | {"takes causal"},
    counts=SEVERAL,
    after=(ALONE,),
)
def join_the_flag(case: Case) -> float:
    """What either hides is hidden."""
    return segmented(case, "causal").agrees()


def segmented(case: Case, *roles: str) -> Question:
    """The case's call with segments, and as many keys as queries."""
    asked = question(case, "segments", *roles)
    if not asked.function:
        return asked
    _, _, tokens, keys = asked.shape
    kept = np.arange(tokens) % keys
    inputs = {n: a if n == "queries" else np.take(a, kept, axis=2) for n, a in asked.inputs.items()}
    return asked.with_inputs(inputs)
