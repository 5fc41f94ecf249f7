"""result/: what is returned besides the context is what was used."""

from __future__ import annotations

from properties.cases.agreement import same_output
from properties.cases.case import Case
from properties.cases.question import question, taken
from properties.spec.clause import Level, clause

WEIGHTS = "result/returned-weights-are-those-used"


@clause(
    WEIGHTS,
    Level.MUST,
    "The weights that are returned are the softmax of the scores: those by which the values are mixed.",
    needs={"takes weights"},
)
def returned_weights(case: Case) -> float:
    """One matrix for each head, or their mean where that is the convention; with whatever can hide."""
    hiding = taken(case, "causal", "mask", "padding")
    asked = [question(case, "weights"), *(question(case, "weights", role) for role in hiding)]
    return max(one.agrees() for one in asked)


@clause(
    "result/averaged-weights-are-their-mean",
    Level.MUST,
    "Weights that are asked for as an average are the mean over heads of those used.",
    needs={"takes weights", "takes averaged"},
    after=(WEIGHTS,),
)
def averaged_weights(case: Case) -> float:
    """(B, T, S), with whatever can hide. A sum, one head, or every head is no mean."""
    hiding = taken(case, "causal", "mask", "padding")
    asked = [question(case, "weights"), *(question(case, "weights", role) for role in hiding)]
    return max(one.changed(averaged=True).agrees() for one in asked)


@clause(
    "result/asking-changes-nothing",
    Level.MUST,
    "The output is the same whether more than it is asked for or not.",
    needs={"returns more"},
)
def asking_changes_nothing(case: Case) -> float:
    """Asked for, weights are often made by another path than the output was made by before."""
    more = taken(case, "weights", "lse")
    shares = []
    for roles in ((), *((role,) for role in taken(case, "causal", "mask"))):
        plain = question(case, *roles)
        asked = plain.changed(**dict.fromkeys(more, True))
        shares.append(same_output(f"asked for {' and '.join(more)} as well", asked, plain))
    return max(shares)


@clause(
    "result/lse-is-the-logarithm-of-the-denominator",
    Level.MUST,
    "The log-sum-exp that is returned is that of the scores by which the output was made.",
    needs={"takes lse"},
)
def lse(case: Case) -> float:
    """Log sum_j exp(z_ij) over the keys that are seen, natural or to base 2 as was found."""
    hiding = taken(case, "causal", "window", "scale", "cap")
    asked = [question(case, "lse"), *(question(case, "lse", role) for role in hiding)]
    return max(one.agrees() for one in asked)
