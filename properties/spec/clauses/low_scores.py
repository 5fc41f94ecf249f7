"""What is hidden stays hidden where every score that is seen is far below zero.

A constant in the place of minus infinity is the largest of its row where scores are lower: what is hidden
takes all of the weight. Scores of -1024 must be withstood where they are seen, so what is hidden has to be
lower (`numerics/large-scores-stay-finite`). A constant such as -1e4 shows below -10000 alone: that is an
edge, see `extreme_scores`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from properties.basics.assertions import near
from properties.basics.dtypes import FORMATS, Array
from properties.cases.agreement import same_output
from properties.cases.budgets import difference
from properties.cases.case import Case
from properties.cases.devices import wide_enough, with_queries_keys_values
from properties.cases.question import Question, question
from properties.spec.clause import Level, clause
from properties.spec.clauses.conditions import SEVERAL_TOKENS, before_the_end
from properties.spec.clauses.mask import SEVERAL, SHOWN, last, several_keys, with_hidden
from properties.spec.clauses.numerics import STEEP
from properties.spec.clauses.padding import REAL
from properties.subjects.subject import CAUSAL_FAMILIES

LOW = -STEEP
OTHER = 4.0  # what is added to hidden values


@clause(
    "causality/low-scores-leave-the-future-hidden",
    Level.MUST,
    "Where every score that is seen is -1024, hidden values still change nothing.",
    families=CAUSAL_FAMILIES,
    needs={"projections"},
    counts=SEVERAL_TOKENS,
    after=("causality/huge-future-stays-out",),
    examples=6,
)
def low_scores_leave_the_future_hidden(case: Case) -> float:
    """All tokens up to a place have a key with which each score is -1024, those after it a key of zeros.
    A constant such as -100 in the place of hidden scores is the largest of the row then.
    """
    return unchanged_by_the_future(case, LOW)


def unchanged_by_the_future(case: Case, score: float) -> float:
    """The share of the bound by which an output differs, with other values for the tokens after a place,
    where each score that is seen is this one.
    """
    kept = before_the_end(case) + 1
    pairs = low(of_tokens(case), case, slice(kept), score)
    before, after = (with_queries_keys_values(case, *parts) for parts in pairs)
    changed, unchanged = (part[:, :kept] for part in (after.output, before.output))
    return near(
        "an unchanged output of",
        changed,
        unchanged,
        lambda: difference(before)[:, :kept],
        "batch token column",
    )


@clause(
    "mask/low-scores-leave-keys-hidden",
    Level.MUST,
    "Where every score that is seen is -1024, the value of a hidden key still changes nothing.",
    needs={"takes mask"},
    counts=SEVERAL,
    after=(SHOWN,),
    examples=6,
)
def low_scores_leave_keys_hidden(case: Case) -> float | None:
    """The last key is hidden from every query by the mask, and is zero; with all others each score is
    -1024. Hidden scores of -100 are larger.
    """
    return unchanged(case, masked, LOW)


def masked(asked: Question) -> Question:
    """With the last key hidden by the mask."""
    return with_hidden(asked, [last(asked.case)])


@clause(
    "mask/low-scores-leave-padding-hidden",
    Level.MUST,
    "Where every score that is seen is -1024, the value of padding still changes nothing.",
    needs={"takes padding"},
    counts=SEVERAL,
    after=(REAL,),
    examples=6,
)
def low_scores_leave_padding_hidden(case: Case) -> float | None:
    """The last key is padding, and is zero; with all others each score is -1024. Hidden scores of -100
    are larger.
    """
    return unchanged(case, padded, LOW)


def padded(asked: Question) -> Question:
    """With the last key for padding."""
    batch, _, _, keys = asked.shape
    return asked.changed(padding=np.broadcast_to(np.arange(keys) < keys - 1, (batch, keys)).copy())


def unchanged(case: Case, told: Callable[[Question], Question], score: float) -> float | None:
    """The share of the bound by which an output differs, with another value for the last key, which is
    hidden by what is told, where each score that is seen is this one.
    """
    if not several_keys(case):
        return None
    before, after = map(told, low_calls(case, slice(-1), score))
    rows = before.rows_without([last(case)])
    return same_output(
        "with another value where it is hidden", after, before, np.s_[:, rows], np.s_[:, rows]
    )


def low_calls(case: Case, shown: slice, score: float) -> list[Question]:
    """The two calls of `low`, of a function or of a module."""
    plain = question(case)
    if plain.function:
        pairs = low([plain.inputs[name] for name in INPUTS], case, shown, score)
        return [plain.with_inputs(dict(zip(INPUTS, parts, strict=True))) for parts in pairs]
    pairs = low(of_tokens(case), case, shown, score)
    return [question(with_queries_keys_values(case, *parts)) for parts in pairs]


INPUTS = ("queries", "keys", "values")


def of_tokens(case: Case) -> list[Array]:
    """The queries (B, H, T, D), keys and values (B, G, T, D) of the case, rounded to its format."""
    own = case.trace
    return [FORMATS[case.dtype].round(part) for part in (own.queries, own.keys, own.values)]


def low(
    given: list[Array], case: Case, shown: slice, score: float
) -> tuple[tuple[Array, ...], ...]:
    """Queries, keys and values of these shapes, twice: with keys that are shown each scaled score is this
    one or somewhat less, with others zero; the second time these others have other values.
    """
    queries, keys, values = np.zeros_like(given[0]), np.zeros_like(given[1]), given[2]
    head_dim = queries.shape[-1]
    if case.call is None or "queries" not in case.call.arrays:
        head_dim = wide_enough(case, queries.shape)
    least = -FORMATS[case.dtype].largest / 2  # before the scale
    queries[..., 0] = 1.0
    keys[..., shown, 0] = max(score * 2.0 ** np.ceil(np.log2(head_dim) / 2), least)
    hidden = np.ones(keys.shape[2], dtype=np.bool_)
    hidden[shown] = False
    return (queries, keys, values), (queries, keys, values + OTHER * hidden[:, None])
