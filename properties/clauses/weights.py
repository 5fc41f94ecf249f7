"""weights/: what every query gives to the keys is a distribution over those it may see."""

from __future__ import annotations

from properties.assertions import near
from properties.bounds import row_sum
from properties.case import Case
from properties.clauses.conditions import SEVERAL_TOKENS, visible
from properties.devices import read_weights
from properties.spec import Level, clause


@clause(
    "weights/rows-sum-to-one",
    Level.MUST,
    "The attention weights of every query sum to one.",
    needs={"projections"},
    counts=SEVERAL_TOKENS,
)
def rows_sum_to_one(case: Case) -> float:
    """Each exponential is divided by the sum of the same exponentials, so whatever error the scores
    carry cancels in the sum; only the roundings of the sums and the division remain.
    """
    probe = visible(case)
    sums = read_weights(probe, probe.output).sum(axis=-1)
    allowed = row_sum(case.sizes.tokens, case.dtype)
    return near("a sum of weights of", sums, 1.0, allowed, "batch head query")
