"""numerics/: right numbers where the arithmetic is hard: large scores, low precision."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache

import numpy as np

from properties.basics.assertions import near, require
from properties.basics.dtypes import FORMATS, Array
from properties.cases.case import Case
from properties.cases.devices import pad, read_weights, wide_enough, with_queries_keys_values
from properties.spec.clause import ENOUGH, Condition, Half, Level, clause
from properties.spec.clauses.conditions import ALIVE, SEVERAL_TOKENS, visible
from properties.subjects.subject import PROJECTED_FAMILIES

STEEP = 2.0**10  # exp of it overflows every format; sqrt(D) times it stays inside float16
HALF_FORMATS = ("bfloat16", "float16")


@lru_cache(maxsize=ALIVE)
def in_half_formats(case: Case) -> tuple[Case, ...]:
    """The case in those of bfloat16 and float16 that the subject claims."""
    claimed = [dtype for dtype in HALF_FORMATS if dtype in case.subject.dtypes]
    return tuple(replace(case, dtype=dtype) for dtype in claimed)


A_HALF_FORMAT = Condition(
    "two tokens or more in bfloat16 or float16, every magnitude within its range",
    lambda case: case.sizes.tokens > 1 and any(c.budget.claims for c in in_half_formats(case)),
)


def with_scores(case: Case, scores: Array) -> Case:
    """The case with these scaled scores (T,) for the keys in turn, the same for every query and head.

    Every query is (1, 0, ...) and every key (score * sqrt(D), 0, ...); the values are the case's own.
    The plain family takes its scores from the input: its keys cannot be chosen apart.
    """
    fmt, values = FORMATS[case.dtype], case.trace.values
    padded = pad(fmt.round(values), wide_enough(case, values.shape))
    queries, keys = (
        np.zeros((len(padded), case.sizes.heads, *padded.shape[2:])),
        np.zeros_like(padded),
    )
    queries[..., 0] = 1.0
    # The module divides by the root of its own head_dim, which the padding has settled.
    keys[..., 0] = fmt.round(scores * np.sqrt(padded.shape[-1]))
    return with_queries_keys_values(case, queries, keys, padded)


@clause(
    "numerics/large-scores-stay-finite",
    Level.MUST,
    "Scores far beyond the range of the exponential give finite, right outputs.",
    families=PROJECTED_FAMILIES,
    needs={"projections"},
    counts=SEVERAL_TOKENS,
    after=(
        "causality/future-does-not-change-past",
        "causality/every-past-token-is-seen",
        "weights/rows-sum-to-one",
        "weights/log-odds-are-scaled-score-differences",
        "heads/split-equals-per-head-matmul",
        "heads/wrapper-concatenates-in-order",
    ),
)
def large_scores_stay_finite(case: Case) -> float:
    """exp(1024) overflows every format, so a softmax that does not subtract the maximum divides
    infinity by infinity. Scores of either sign are drawn, and all of them large and negative.
    """
    rng = np.random.default_rng(case.seed)
    signs = rng.choice([-1.0, 1.0], size=case.sizes.tokens)
    worst = 0.0
    for scores in (STEEP * signs, np.full(case.sizes.tokens, -STEEP)):
        steep = with_scores(case, scores)
        share = near(
            "the formula's",
            steep.output,
            steep.trace.output,
            steep.budget.output,
            "batch token column",
        )
        worst = max(worst, share)
    return worst


@clause(
    "numerics/rows-of-very-different-magnitude",
    Level.MUST,
    "Each query is normalised by itself, however far the scores of another one are away.",
    families=PROJECTED_FAMILIES,
    needs={"projections"},
    counts=SEVERAL_TOKENS,
    after=("numerics/large-scores-stay-finite",),
)
def rows_of_very_different_magnitude(case: Case) -> float:
    """One query's scores lie about +1024, the next one's about -1024. One maximum for the whole
    tensor leaves nothing but zeros in the low rows.
    """
    uneven = with_scores(case, np.full(case.sizes.tokens, STEEP))
    sign = np.where(np.arange(case.sizes.tokens) % 2, -1.0, 1.0)
    queries = uneven.trace.queries * sign[:, None]
    uneven = with_queries_keys_values(case, queries, uneven.trace.keys, uneven.trace.values)
    return near(
        "the formula's",
        uneven.output,
        uneven.trace.output,
        uneven.budget.output,
        "batch token column",
    )


@clause(
    "numerics/saturates-to-the-largest-score",
    Level.MUST,
    "A key whose score exceeds all others by far takes the whole weight.",
    families=PROJECTED_FAMILIES,
    needs={"projections"},
    counts=SEVERAL_TOKENS,
    after=("numerics/large-scores-stay-finite",),
)
def saturates_to_the_largest_score(case: Case) -> float:
    """One key's score is about a thousand above the others', which leaves them less than 1e-200 of
    the weight. The first key is the one that every query sees.
    """
    scores = np.zeros(case.sizes.tokens)
    scores[0] = STEEP
    peaked = visible(with_scores(case, scores))
    weights = read_weights(peaked, peaked.output)
    return near(
        "a weight of",
        weights,
        peaked.trace.weights,
        lambda: read_weights(peaked, peaked.budget.output),
        "batch head query key",
    )


@clause(
    "numerics/no-quiet-downcast",
    Level.MUST,
    "Float64 in gives float64 accuracy out.",
    needs={"projections", "float64"},
    counts=SEVERAL_TOKENS,
    after=("oracle/output-within-bound",),
)
def no_quiet_downcast(case: Case) -> float:
    """A detour through float32 leaves errors of 1e-8 that look harmless and make gradient checks
    and comparisons in double precision meaningless. The inputs use all 53 bits.
    """
    double = with_all_bits(case)
    return near(
        "the formula's",
        double.output,
        double.trace.output,
        double.budget.output,
        "batch token column",
    )


def with_all_bits(case: Case) -> Case:
    """The case in float64, its numbers a little off those that are exact in other formats."""
    rng = np.random.default_rng(case.seed)
    return replace(case, dtype="float64").map_arrays(
        lambda name, array: array * (1.0 + rng.uniform(-0.01, 0.01, size=array.shape))
    )


@clause(
    "numerics/float64-weights-are-no-float32",
    Level.MUST,
    "The weights of a float64 input are computed in float64.",
    needs={"projections", "float64"},
    counts=SEVERAL_TOKENS,
    half=Half.EDGE,
    brief="the weights of float64 are computed in float32",
    examples=1,
)
def float64_weights_are_no_float32(case: Case) -> None:
    """A softmax that is always taken in float32 is a habit of libraries whose models run in half
    precision: it is better there, and worse in float64 alone. It is told and decides nothing. Values that
    go through float32 besides are `numerics/no-quiet-downcast`, and weights that are wrong in float32,
    too, are nothing of this law. So is a scale that is kept as a tensor of float32, as the root of
    head_dim often is: what is divided by it is right in float32, and to seven digits in float64.
    """
    double = replace(case, dtype="float64")
    require(
        not weights_in_float32(visible(double)),
        "weights of float64",
        "numbers of float32 throughout",
    )
    require(
        not scaled_in_float32(double),
        "scores that are scaled in float64",
        "those of a scale that was rounded to float32",
    )


def weights_in_float32(probe: Case) -> bool:
    """Whether the weights that a probe in float64 shows are numbers of float32, right to its rounding
    and to no other, or if they are other weights, those of a row summing to one so. By chance each of them
    is a float32 with a probability of 2**-29.
    """
    weights = read_weights(probe, probe.output)
    if (weights.astype(np.float32) != weights).any():
        return False
    off = np.abs(weights - probe.trace.weights)
    exact, narrow = (
        read_weights(probe, case.budget.output) for case in (probe, replace(probe, dtype="float32"))
    )
    sums = np.abs(weights.sum(axis=-1) - 1.0), exact.sum(axis=-1), narrow.sum(axis=-1)
    return any(bool((o > e).any() and (o <= n).all()) for o, e, n in ((off, exact, narrow), sums))


def scaled_in_float32(case: Case) -> bool:
    """Whether an output of float64 is that of a scale which was rounded to float32, and of no exact one."""
    right = np.abs(case.output - case.trace.output) <= case.budget.output
    if not case.scaled or bool(right.all()):
        return False
    root = np.sqrt(np.float64(case.sizes.head_dim))
    rounded = (1 / np.float64(np.float32(root)), np.float32(1 / root), 1 / np.float32(root))
    return any(scaled_by(case, float(scale)) for scale in rounded)


def scaled_by(case: Case, scale: float) -> bool:
    """Whether the output is within the bound of what the formula gives with this scale."""
    trace = case.trace_of(replace(case.request, scale=scale))
    return bool((np.abs(case.output - trace.output) <= case.budget_of(trace).output).all())


@clause(
    "numerics/deterministic-in-eval",
    Level.MUST,
    "In eval mode the same module gives the same bits for the same input.",
    examples=ENOUGH,
)
def deterministic_in_eval(case: Case) -> float:
    """Nothing random is left in eval mode, and one machine adds in one order."""
    instance = case.build()
    first, second = (instance.run(case.x, seed=seed) for seed in (case.seed, case.seed + 1))
    return near("the first call's", second, first, 0.0, "batch token column")


@clause(
    "numerics/low-precision-within-bound",
    Level.MUST,
    "In bfloat16 and float16, where the subject runs in them, the output is the formula's to rounding.",
    needs={"projections", "half-precision"},
    counts=A_HALF_FORMAT,
    after=("oracle/output-within-bound",),
)
def low_precision_within_bound(case: Case) -> float:
    """Every number of a case is exact in all formats, so only the arithmetic differs. A mask constant
    or a scale that the short format cannot hold shows here. Sums of a few ordinary products may be off
    by a tenth in these formats, so two tokens are asked besides whose scores are one product each.
    """
    shares = [
        near(
            f"in {probe.dtype} the formula's",
            probe.output,
            probe.trace.output,
            probe.budget.output,
            "batch token column",
        )
        for half in in_half_formats(case)
        for probe in probes(half)
    ]
    return max(shares, default=0.0)


def probes(case: Case) -> Iterator[Case]:
    """The case, and where queries and keys can be chosen two tokens of ones."""
    yield case
    if case.subject.family in PROJECTED_FAMILIES:
        yield two_ones(case)


def two_ones(case: Case) -> Case:
    """One item and one head of two tokens: queries are a one and zeros, keys and values opposite."""
    signs = np.array([1.0, -1.0]).reshape(1, 1, 2, 1)
    values = np.repeat(signs, case.sizes.head_dim, axis=-1)
    return with_queries_keys_values(case, np.ones_like(signs), signs, values)


@clause(
    "numerics/scores-of-float16-fit-once-scaled",
    Level.MAY,
    "In float16 the output is finite where q.k is beyond the largest number and its scaled score is "
    "not.",
    families=PROJECTED_FAMILIES,
    needs={"projections", "half-precision"},
    after=("numerics/low-precision-within-bound",),
    examples=1,
)
def scores_of_float16_fit_once_scaled(case: Case) -> None:
    """q.k = 2**17 and head_dim is 64 at least: the score is 2**14 at most, and the largest number of
    float16 about 2**16. Who scales the queries first, or keeps the scores in float32, gets through;
    what multiplies first and stores the product in float16 has infinity minus infinity in its
    softmax. MAY, since the formula read from left to right does that, and so does most code that is
    right otherwise; models are trained to stay far below.
    """
    if "float16" not in case.subject.dtypes:
        return
    finite = bool(np.isfinite(with_large_products(case).output).all())
    require(finite, "a finite output for scores of 2**17 before the scale", "NaN or infinity")


def with_large_products(case: Case) -> Case:
    """One item and one head of two tokens in float16, with q.k = 2**17."""
    queries, keys, values = np.zeros((3, 1, 1, 2, 64))
    queries[..., 0], keys[..., 0], values[..., 0] = 2.0**9, 2.0**8, 1.0
    return with_queries_keys_values(replace(case, dtype="float16"), queries, keys, values)
