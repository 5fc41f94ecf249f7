"""oracle/: the numbers are those of the formula."""

from __future__ import annotations

from properties.assertions import near
from properties.case import Case
from properties.clauses.conditions import IN_RANGE
from properties.spec import Level, clause


@clause(
    "oracle/output-within-bound",
    Level.MUST,
    "The output differs from float64 arithmetic by no more than rounding can explain.",
    needs={"projections"},
    counts=IN_RANGE,
)
def output_within_bound(case: Case) -> float:
    """The truth is the formula in float64 NumPy, one query at a time. The bound follows from the
    unit roundoff, the sizes and the magnitudes of this example (`bounds.py`).
    """
    return near(
        "the formula's", case.output, case.trace.output, case.budget.output, "batch token column"
    )
