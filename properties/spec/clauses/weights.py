"""weights/: what every query gives to the keys is a distribution over those it may see."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from properties.basics.assertions import near, require
from properties.basics.dtypes import FORMATS, Array
from properties.cases.budgets import one_run
from properties.cases.budgets.weights import row_sums
from properties.cases.case import Case
from properties.cases.devices import read_weights
from properties.spec.clause import Level, clause
from properties.spec.clauses.conditions import (
    DIFFERENT_SCORES,
    SEVERAL_TOKENS,
    claimed,
    moderate,
    moderate_queries_and_keys,
    seen,
    showing_weights,
    visible,
    with_constant,
)
from properties.subjects.subject import CAUSAL_FAMILIES

SHIFT = 2.0**12  # exp of it, over sqrt(D), overflows float64 up to D = 33


@clause(
    "weights/rows-sum-to-one",
    Level.MUST,
    "The attention weights of every query sum to one.",
    needs={"projections"},
    counts=SEVERAL_TOKENS,
    after=("numerics/deterministic-in-eval",),
)
def rows_sum_to_one(case: Case) -> float:
    """Each exponential is divided by the sum of the same exponentials, so whatever error the scores
    carry cancels in the sum; what rounding leaves is in `budgets/weights.py`.
    """
    probe = visible(case)
    sums = read_weights(probe, probe.output).sum(axis=-1)
    return near("a sum of weights of", sums, 1.0, row_sums(probe), "batch head query")


@clause(
    "weights/non-negative",
    Level.MUST,
    "No attention weight is negative.",
    needs={"projections"},
    counts=SEVERAL_TOKENS,
    after=("weights/rows-sum-to-one",),
)
def non_negative(case: Case) -> float:
    """An exponential over a sum of exponentials is not negative, however it is rounded."""
    probe = visible(case)
    negative = np.minimum(read_weights(probe, probe.output), 0.0)
    return near("no weight below", negative, 0.0, claimed(probe, 0.0), "batch head query key")


@clause(
    "weights/hidden-exactly-zero",
    Level.MUST,
    "The weight of a hidden key is exactly zero.",
    families=CAUSAL_FAMILIES,
    needs={"projections"},
    counts=SEVERAL_TOKENS,
    after=(
        "causality/future-does-not-change-past",
        "weights/rows-sum-to-one",
        "heads/split-equals-per-head-matmul",
        "heads/wrapper-concatenates-in-order",
    ),
)
def hidden_exactly_zero(case: Case) -> float:
    """Of minus infinity the exponential is zero, and so it is of a format's most negative number.
    After adding -100 a weight of 4e-44 is left, which a value large enough brings back.
    """
    probe = visible(case)
    hidden = np.where(seen(probe) > 0, 0.0, read_weights(probe, probe.output))
    return near("a hidden weight of", hidden, 0.0, claimed(probe, 0.0), "batch head query key")


@clause(
    "weights/equal-scores-give-equal-weights",
    Level.MUST,
    "A query that scores all n keys it sees alike gives each of them the weight 1 / n.",
    needs={"projections"},
    counts=SEVERAL_TOKENS,
    after=(
        "causality/future-does-not-change-past",
        "causality/every-past-token-is-seen",
        "weights/rows-sum-to-one",
        "heads/split-equals-per-head-matmul",
        "heads/wrapper-concatenates-in-order",
    ),
)
def equal_scores_give_equal_weights(case: Case) -> float:
    """Under the causal mask query i, counted from 0, sees i + 1 keys. All keys are made equal; in
    the plain family, where keys are values, one token is zero and its context is the mean.
    """
    if case.subject.family == "plain":
        x = case.x.copy()
        x[:, case.cut] = 0.0
        probe = replace(case, x=x)
        actual, allowed = (part[:, case.cut] for part in (probe.output, probe.budget.output))
        return near("the mean", actual, x.mean(axis=1), allowed, "batch column")
    queries, keys = moderate_queries_and_keys(case)
    probe = showing_weights(case, queries, np.broadcast_to(keys[..., :1, :], keys.shape))
    expected = seen(probe) / seen(probe).sum(axis=-1, keepdims=True)
    actual, allowed = (read_weights(probe, part) for part in (probe.output, probe.budget.output))
    return near("a weight of", actual, expected, allowed, "batch head query key")


@clause(
    "weights/log-odds-are-scaled-score-differences",
    Level.MUST,
    "The logarithm of the ratio of two weights of a query is the difference of its scores over "
    "sqrt(head_dim) (plain: the difference itself).",
    needs={"projections"},
    counts=DIFFERENT_SCORES,
    after=(
        "causality/future-does-not-change-past",
        "weights/rows-sum-to-one",
        "heads/split-equals-per-head-matmul",
        "heads/wrapper-concatenates-in-order",
    ),
)
def log_odds_are_scaled_score_differences(case: Case) -> float:
    """log(w_j / w_k) = (s_j - s_k) / sqrt(D): the normalisation cancels, so this holds whatever is
    hidden, and it holds for no other scale. d_in, d_out, head_dim, H and T are all different. A
    weight off by at most r w has a logarithm off by at most -log(1 - r).
    """
    probe = moderate(case)
    scale = 1.0 / probe.request.factor(probe.sizes.head_dim)
    weights, allowed = (read_weights(probe, part) for part in (probe.output, probe.budget.output))
    log_error = -np.log1p(-np.minimum(allowed / probe.trace.weights, 1.0))
    odds, off, scores = (
        part + sign * np.diagonal(part, axis1=-2, axis2=-1)[..., None]
        for part, sign in ((np.log(weights), -1.0), (log_error, 1.0), (probe.trace.scores, -1.0))
    )
    among = seen(probe) > 0
    return near(
        "with the query's own key a difference of scores of",
        np.where(among, scale * odds, 0.0),
        np.where(among, scores, 0.0),
        np.where(among, scale * off, 0.0),
        "batch head query key",
    )


@clause(
    "weights/adding-a-constant-to-a-row-of-scores-changes-nothing",
    Level.MUST,
    "Adding the same number to all scores of a query leaves its weights as they are.",
    needs={"projections"},
    counts=DIFFERENT_SCORES,
    after=(
        "causality/future-does-not-change-past",
        "weights/rows-sum-to-one",
        "heads/split-equals-per-head-matmul",
        "heads/wrapper-concatenates-in-order",
    ),
)
def adding_a_constant_changes_nothing(case: Case) -> float:
    """As exp(s + c) = exp(s) exp(c), exp(c) cancels. c has either sign from row to row (plain: the
    positive one). In the wider formats exp(c) overflows, in the short ones c is what their
    precision allows.
    """
    c = min(SHIFT, 4.0 ** (np.log2(2.0**-6 / FORMATS[case.dtype].unit_roundoff) // 2))
    shifted, still = with_constant(case, c), moderate(case)
    after, before = (read_weights(probe, probe.output) for probe in (shifted, still))
    allowed = 2.0 * read_weights(shifted, one_run(shifted))  # the larger scores bound both
    return near("the weight before,", after, before, allowed, "batch head query key")


@clause(
    "weights/larger-score-larger-weight",
    Level.MUST,
    "Of two keys that a query sees, the one with the larger score has the larger weight.",
    needs={"projections"},
    counts=DIFFERENT_SCORES,
    after=("weights/log-odds-are-scaled-score-differences",),
)
def larger_score_larger_weight(case: Case) -> None:
    """The exponential grows, whatever the scale. Asked of every pair of weights whose budgets do
    not overlap.
    """
    probe = moderate(case)
    weights, allowed = (read_weights(probe, part) for part in (probe.output, probe.budget.output))
    least, most = probe.trace.weights - allowed, probe.trace.weights + allowed
    among = seen(probe) > 0
    pairs = among[:, :, None] & among[:, None, :] & (least[..., :, None] > most[..., None, :])
    broken = np.argwhere(pairs & ~(weights[..., :, None] > weights[..., None, :]))
    for b, h, query, key, other in broken[:1]:
        require(
            False,
            f"a larger weight than that of key {other}, {weights[b, h, query, other]:.6g}",
            f"{weights[b, h, query, key]:.6g}",
            batch=int(b),
            head=int(h),
            query=int(query),
            key=int(key),
        )


@clause(
    "weights/renormalised-mask-equals-minus-infinity-mask",
    Level.MUST,
    "Hiding keys before the softmax equals zeroing their weights after it and dividing each row by "
    "its sum.",
    families=CAUSAL_FAMILIES,
    needs={"projections"},
    counts=DIFFERENT_SCORES,
    after=(
        "causality/future-does-not-change-past",
        "weights/rows-sum-to-one",
        "weights/log-odds-are-scaled-score-differences",
    ),
)
def renormalised_mask_equals_minus_infinity_mask(case: Case) -> float:
    """All queries are made the same, so the last row, which sees everything, is the softmax without
    a mask, and every row before it is that one cut off and divided by the sum S of what is left.
    Checked as w_ij S_i = w_Tj, where three weights bring their errors.
    """
    queries, keys = moderate_queries_and_keys(case)
    probe = showing_weights(case, np.broadcast_to(queries[..., :1, :], queries.shape), keys)

    def kept_of_last(weights: Array) -> tuple[Array, Array]:
        last = weights[..., -1:, :] * seen(probe)
        return last, last.sum(axis=-1, keepdims=True)

    weights, error = (read_weights(probe, part) for part in (probe.output, probe.budget.output))
    last, total = kept_of_last(weights)
    last_error, total_error = kept_of_last(error)
    true_total = kept_of_last(probe.trace.weights)[1]
    allowed = error * (true_total + total_error) + probe.trace.weights * total_error + last_error
    return near("the last row's", weights * total, last, allowed, "batch head query key")
