"""What is hidden stays hidden at scores that hardly a model has: thousands, and more.

A number in the place of minus infinity, such as -1e4 in the code of many models, shows only where scores
are further away from zero than it. Up to 1024, which a softmax has to withstand, nothing may show
(`causality/huge-future-stays-out`, `low_scores`). Beyond, it is told and decides nothing.
"""

from __future__ import annotations

from functools import partial

from properties.cases.case import Case
from properties.spec.clause import Half, Level, clause
from properties.spec.clauses.causality import end_of_range, unchanged_by_hidden
from properties.spec.clauses.conditions import SEVERAL_TOKENS
from properties.spec.clauses.low_scores import masked, padded, unchanged, unchanged_by_the_future
from properties.spec.clauses.mask import SEVERAL
from properties.subjects.subject import CAUSAL_FAMILIES

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
