"""mask/: a flag that a call is told hides the future, and nothing else."""

from __future__ import annotations

from properties.cases.case import Case
from properties.cases.question import question, taken
from properties.spec.clause import Level, clause
from properties.spec.clauses.mask import SEVERAL


@clause(
    "mask/causal-flag-hides-the-future",
    Level.MUST,
    "With the causal flag what comes after each query is hidden, beside padding as well; without it every "
    "query sees every key.",
    needs={"takes causal"},
    counts=SEVERAL,
)
def causal_flag_hides(case: Case) -> float:
    """Whatever the flag is by default, it is asked as True and as False. One that is ignored, hides one
    token too few or hides the past gives other numbers. Beside a mask of pairs `mask/joins-the-causal-flag`
    asks it.
    """
    roles = ["causal", *taken(case, "padding")]
    asked = [question(case), question(case, "causal"), question(case, *roles)]
    return max(one.agrees() for one in asked)
