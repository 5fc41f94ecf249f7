"""What is hidden stays hidden at scores that hardly a model has: thousands, and more.

A number in the place of minus infinity, such as -1e4 in the code of many models, shows only where scores
are further away from zero than it. Up to 1024, which a softmax has to withstand, nothing may show
(`causality/huge-future-stays-out`, `low_scores`). Beyond, it is told and decides nothing.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from properties.basics.assertions import require
from properties.cases.case import Case
from properties.spec.clause import Half, Level, clause
from properties.spec.clauses.causality import end_of_range, unchanged_by_hidden
from properties.spec.clauses.conditions import SEVERAL_TOKENS
from properties.spec.clauses.low_scores import (
    low_calls,
    masked,
    padded,
    unchanged,
    unchanged_by_the_future,
)
from properties.spec.clauses.mask import SEVERAL, beyond_float16, last_sees_nothing, of_the_last
from properties.subjects.subject import CAUSAL_FAMILIES

BELOW_ZERO = -32.0  # with the most negative number of float16 it is minus infinity there
LOWEST = -(2.0**14)  # a power of two below -1e4; a constant of -1e9 is let pass

extreme = partial(
    clause,
    level=Level.MUST,
    half=Half.EDGE,
    brief="what is hidden scores a number, not minus infinity",
    examples=6,
)


@extreme(
    "causality/future-at-the-end-of-the-range-stays-out",
    requirement="Hidden keys that score as high as the format allows change no output before them.",
    families=CAUSAL_FAMILIES,
    needs={"projections"},
    counts=SEVERAL_TOKENS,
    after=("causality/huge-future-stays-out",),
)
def future_at_the_end_of_the_range_stays_out(case: Case) -> float:
    """The hidden scores are a quarter of the largest number: minus a constant such as 1e4 or 1e9 they
    still dominate.
    """
    return unchanged_by_hidden(case, end_of_range(case))


@extreme(
    "causality/lowest-scores-leave-the-future-hidden",
    requirement="Where every score that is seen is below -10000, hidden values still change nothing.",
    families=CAUSAL_FAMILIES,
    needs={"projections"},
    counts=SEVERAL_TOKENS,
    after=("causality/low-scores-leave-the-future-hidden",),
)
def lowest_scores_leave_the_future_hidden(case: Case) -> float:
    """Each score that is seen is -16384. Scores of a trained model have been found below -15000
    (huggingface/transformers#17121).
    """
    return unchanged_by_the_future(case, LOWEST)


@extreme(
    "mask/lowest-scores-leave-keys-hidden",
    requirement="Where every score that is seen is below -10000, values of hidden keys change nothing.",
    needs={"takes mask"},
    counts=SEVERAL,
    after=("mask/low-scores-leave-keys-hidden",),
)
def lowest_scores_leave_keys_hidden(case: Case) -> float | None:
    """Each score that is seen is -16384. Hidden scores of -1e4 are larger."""
    return unchanged(case, masked, LOWEST)


@extreme(
    "mask/lowest-scores-leave-padding-hidden",
    requirement="Where every score that is seen is below -10000, the value of padding changes nothing.",
    needs={"takes padding"},
    counts=SEVERAL,
    after=("mask/low-scores-leave-padding-hidden",),
)
def lowest_scores_leave_padding_hidden(case: Case) -> float | None:
    """Each score that is seen is -16384. Hidden scores of -1e4 are larger."""
    return unchanged(case, padded, LOWEST)


@clause(
    "mask/empty-row-in-float16",
    Level.MUST,
    "Where a query that sees nothing gives a mean or a mixture of all values, it does in float16, too.",
    needs={"takes mask", "float16"},
    after=("mask/empty-row-is-answered-as-ever",),
    half=Half.EDGE,
    brief="a row that sees nothing is NaN in float16",
    examples=6,
)
def empty_row_in_float16(case: Case) -> None:
    """-1e9 is minus infinity in float16, and so is the most negative number with a score of -32: a row of
    nothing else is NaN, and a padded batch ends in NaN. It is told and decides nothing.
    """
    half = replace(case, dtype="float16")
    asked, _ = low_calls(half, slice(None), BELOW_ZERO)
    answer = of_the_last(last_sees_nothing(asked))
    require(not beyond_float16(half, answer), "a number in float16", "nan")
