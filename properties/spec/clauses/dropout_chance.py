"""dropout/: how often a weight is dropped, and that what is dropped tells nothing of what else is.

What the laws about chance call unlikely is said in `chance.py`.

Legend: B batch, T tokens, H heads.
"""

from __future__ import annotations

import math

import numpy as np

from properties.basics.assertions import require
from properties.cases.case import Case
from properties.spec.clause import ENOUGH, Condition, Level, clause
from properties.spec.clauses.dropout import A_CHANCE, TRAINS
from properties.spec.clauses.dropout_draws import (
    AXES,
    CALLS,
    CROWD_TOKENS,
    SEEDS,
    calls,
    crowd,
    drawn_apart,
    draws,
    draws_in_a_call,
    read,
    sample_tokens,
)
from properties.subjects.subject import HEADED_FAMILIES
from properties.truth import bounds, chance

SEEDED = 4  # calls of which the patterns of two seeds are compared
CROWDS = 8  # examples are enough for a law on a crowd: each tells an error of the rate by itself
RARE = 1.0 / 8.0  # the rate is also looked at where p is this part of itself, near zero
SHARING = tuple(
    f"dropout/independent-over-{axis}" for axis in ("batch", "heads", "rows", "columns")
)
BITS = (*SHARING, "dropout/independent-over-calls")


def sharing_shows(axis: str) -> Condition:
    """Two or more along the axis, and draws enough in each to know its patterns apart."""

    def holds(case: Case) -> bool:
        s = case.sizes
        size = {"batch": s.batch, "head": s.heads}.get(axis, sample_tokens(case))
        each = draws_in_a_call(case) // size
        if axis in ("query", "key"):
            each = math.prod(drawn_apart(case)) * (size - 1)
        comparisons = math.comb(size, 2) + size
        return size > 1 and chance.tells_sharing(each, case.dropout, CALLS, comparisons)

    plural = {"batch": "batch items", "head": "heads", "query": "queries", "key": "keys"}[axis]
    return Condition(f"at least two {plural}, and draws enough to know patterns apart", holds)


A_PATTERN = Condition(
    "draws enough that a pattern does not come again by chance",
    lambda case: chance.tells_repeating(draws_in_a_call(case), case.dropout, CALLS),
)
A_LONG_PATTERN = Condition(
    f"draws enough that a pattern of {SEEDED} calls does not come again by chance",
    lambda case: chance.tells_repeating(SEEDED * draws_in_a_call(case), case.dropout, 2),
)


def independent(case: Case, axis: str) -> float:
    """The patterns of any two along one axis are independent; two samples in a row must deny it."""

    def law(sample: int) -> float:
        d = draws(case, sample)
        bits, seen = (np.moveaxis(part, AXES.index(axis), 0) for part in (d.bits, d.seen))
        return chance.independent(f"the weights dropped for {axis}", bits, seen)

    return chance.confirmed(law)


@clause(
    "dropout/no-weight-is-exempt",
    Level.MUST,
    "In training every weight is dropped with probability p, wherever it stands.",
    needs={"projections", "dropout"},
    counts=A_CHANCE,
    after=SHARING,
)
def no_weight_is_exempt(case: Case) -> float:
    """At the example's own sizes, of each call, batch item, head, query and key, and of each query
    and key together, the number dropped is binomial. The diagonal that is kept, the head that is
    left out, the one token that is not worth it: their counts are too far off for chance. With one
    token the weight is one, and each head is all or nothing.
    """

    def law(sample: int) -> float:
        d = draws(case, sample)
        groups = ((), *((axis,) for axis in AXES), ("query", "key"))
        worst = 0.0
        for group in groups:
            rest = tuple(n for n, axis in enumerate(AXES) if axis not in group)
            hits, trials = ((b & d.seen).sum(axis=rest, dtype=float) for b in (d.bits, d.seen))
            what, axes = "weights dropped at p =", " ".join(group)
            share = chance.rates(what, hits, trials, d.dropout, axes, others=len(groups))
            worst = max(worst, share)
        return worst

    return chance.confirmed(law)


@clause(
    "dropout/survival-rate",
    Level.MUST,
    "In training a weight survives with probability 1 - p.",
    needs={"projections", "dropout"},
    counts=A_CHANCE,
    after=BITS,
    examples=CROWDS,
)
def survival_rate(case: Case) -> float:
    """The number dropped is binomial. One example draws enough to see p off by 0.02 with a
    probability of 0.999, at its own p and near zero. A rate within 2**-8 of p is not accused:
    kernels that compare p with a random byte are right.
    """

    def law(sample: int) -> float:
        probabilities = (case.dropout, RARE * case.dropout)
        worst = 0.0
        for p in probabilities:
            d = crowd(case, p, sample)
            hits, trials = (np.asarray((b & d.seen).sum(), float) for b in (d.bits, d.seen))
            what = "weights dropped at p ="
            worst = max(worst, chance.rates(what, hits, trials, p, others=len(probabilities)))
        return worst

    return chance.confirmed(law)


A_FINE_FORMAT = Condition(
    "a format in which a weight is known to a hundredth of itself: float64 or float32",
    lambda case: bounds.row_sum(CROWD_TOKENS, case.dtype) < 0.01,
)


@clause(
    "dropout/unbiased",
    Level.MUST,
    "In training the expectation of a weight is the weight in eval mode.",
    needs={"projections", "dropout", "wide format"},
    counts=A_FINE_FORMAT,
    after=BITS,
    examples=CROWDS,
)
def unbiased(case: Case) -> float:
    """Dropped with probability p and otherwise multiplied by 1 / (1 - p), a weight keeps its mean.
    So the sum of drawn / undropped over n draws, times 1 - p, is binomial with probability 1 - p,
    up to rounding. It tells where the rate and the factor do not belong together.
    """

    def law(sample: int) -> float:
        d = crowd(case, case.dropout, sample)
        seen = d.seen[..., None, :]
        kept = 1.0 - d.dropout
        whole = np.where(d.undropped > 0, d.undropped, 1.0)
        survived = np.asarray(kept * np.sum(d.drawn / whole, where=seen))
        slack = float(kept * np.sum(np.broadcast_to(d.scaled[1] / whole, seen.shape), where=seen))
        trials = np.asarray(seen.sum(), float)
        finite = bool(np.isfinite(survived))
        require(finite, "a finite mean of the weights drawn", "NaN or infinity")
        what = "a mean of drawn / undropped, times 1 - p ="
        return chance.rates(what, survived, trials, kept, slack=slack)

    return chance.confirmed(law)


@clause(
    "dropout/independent-over-batch",
    Level.MUST,
    "What is dropped for one batch item says nothing about what is dropped for another.",
    needs={"projections", "dropout", "batched"},
    counts=sharing_shows("batch"),
    after=TRAINS,
    unless={"dropout-shared-over-batch"},
)
def independent_over_batch(case: Case) -> float:
    """One pattern for the whole batch makes its noise common to all items, and no average over the
    batch takes it out. If two items have nothing to do with each other, their patterns are no
    nearer in the same call than in two calls, whatever p is and whatever other axes share.
    """
    return independent(case, "batch")


@clause(
    "dropout/independent-over-heads",
    Level.MUST,
    "What is dropped in one head says nothing about what is dropped in another.",
    families=HEADED_FAMILIES,
    needs={"projections", "dropout"},
    counts=sharing_shows("head"),
    after=TRAINS,
    unless={"dropout-shared-over-heads"},
)
def independent_over_heads(case: Case) -> float:
    """A pattern that is broadcast over the heads, or a generator that is set back for each of them,
    drops a key for all heads at once.
    """
    return independent(case, "head")


@clause(
    "dropout/independent-over-rows",
    Level.MUST,
    "What is dropped for one query says nothing about what is dropped for another.",
    needs={"projections", "dropout"},
    counts=sharing_shows("query"),
    after=TRAINS,
)
def independent_over_rows(case: Case) -> float:
    """Dropping whole keys, or whole values, is one pattern for all rows of weights."""
    return independent(case, "query")


@clause(
    "dropout/independent-over-columns",
    Level.MUST,
    "What is dropped of one key says nothing about what is dropped of another.",
    needs={"projections", "dropout"},
    counts=sharing_shows("key"),
    after=TRAINS,
)
def independent_over_columns(case: Case) -> float:
    """Dropping whole queries is one pattern for all columns of weights. Dropping a fixed number of
    keys in each row makes the columns depend on each other the other way round.
    """
    return independent(case, "key")


@clause(
    "dropout/independent-over-calls",
    Level.MUST,
    "What is dropped in one call says nothing about what is dropped in another.",
    needs={"projections", "dropout"},
    counts=A_PATTERN,
    after=SHARING,
)
def independent_over_calls(case: Case) -> float:
    """One instance is called again and again while the generator runs on. A pattern that is kept
    comes again, and so does one whose generator is set back.
    """

    def law(sample: int) -> float:
        d = draws(case, sample)
        return chance.repeated("the weights dropped", d.bits, d.seen)

    return chance.confirmed(law)


@clause(
    "dropout/reproducible-under-manual-seed",
    Level.MUST,
    "The global seed decides what is dropped: one seed always the same, another seed another.",
    needs={"projections", "dropout"},
    counts=A_LONG_PATTERN,
    after=SHARING,
    examples=ENOUGH,
)
def reproducible_under_manual_seed(case: Case) -> float:
    """The same seed gives the same pattern, in the same instance and in a new one, and another seed
    gives another one. So a generator of the module's own, with a seed of its own, is found out.
    """

    def law(sample: int) -> float:
        d, seed = draws(case, sample), case.seed + sample * SEEDS
        new = d.probe.build(dropout=d.dropout)
        for instance, what in ((new, "in a new instance"), (d.instance, "in the same instance")):
            again = read(d.probe, calls(instance, d.probe.x, 1, seed), 1)
            equal = np.array_equal(d.bits_of(again)[0], d.bits[0])
            require(equal, f"the same weights dropped by the same seed {what}", "others")
        other = d.bits_of(read(d.probe, calls(new, d.probe.x, SEEDED, seed + 1), 1))
        bits, seen = np.stack([d.bits[:SEEDED], other]), np.stack([d.seen[:SEEDED]] * 2)
        return chance.repeated("the weights dropped for another seed", bits, seen)

    return chance.confirmed(law)
