"""cross/: each of 8192 keys counts, in short formats, too."""

from __future__ import annotations

from properties.cases.case import Case
from properties.cases.far_keys import LENGTHS, share
from properties.spec.clause import Level, clause
from properties.spec.clauses.cross import OTHER
from properties.spec.clauses.rows import FORMATS

NEEDS = {"takes lengths", "function", "told by calls"}
EDGES = "cross/edges-of-8192-keys"


@clause(
    EDGES,
    Level.MUST,
    "Of 8192 keys, and of 8191, those count that stand where a tile of 64 or more begins or ends.",
    needs=NEEDS,
    after=(OTHER,),
    examples=FORMATS,
    since="ci",
)
def edges_of_8192_keys(case: Case) -> float:
    """The last key, a tile and what remains of one are what a loop over tiles forgets. Random keys weigh a
    8192nd each, and one of them is no more than rounding in bfloat16. Here sixteen keys weigh a sixteenth
    each and all others nothing, so that one that is left out is off by its whole share.
    """
    return max(share(case.subject, tokens, case.dtype, False) for tokens in LENGTHS)


@clause(
    "cross/each-of-8192-keys",
    Level.MUST,
    "Each of 8192 keys counts once and has its own value; so does each of 8191.",
    needs=NEEDS,
    after=(EDGES,),
    examples=FORMATS,
    since="thorough",
)
def each_of_8192_keys(case: Case) -> float:
    """Every key in two rows, once with its neighbours and once with keys that are 256 apart, where all
    scores are below zero. A key that is left out, is counted twice or takes the value of another shows,
    wherever it stands.
    """
    return max(share(case.subject, tokens, case.dtype, True) for tokens in LENGTHS)
