"""causality/: a token sees itself and what came before, all of it and nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from properties.basics.assertions import near, require
from properties.basics.dtypes import FORMATS
from properties.cases.budgets import difference
from properties.cases.budgets.causality import hidden_gradient
from properties.cases.case import Case
from properties.cases.devices import (
    pad,
    read_weights,
    wide_enough,
    with_queries_keys_values,
    with_visible_weights,
)
from properties.spec.clause import Condition, Level, clause
from properties.spec.clauses.conditions import (
    A_FUTURE,
    SEVERAL_TOKENS,
    before_the_end,
    exact_inputs,
    seen,
    showing_weights,
)
from properties.spec.clauses.numerics import STEEP
from properties.subjects.subject import CAUSAL_FAMILIES
from properties.truth.attend import repeated
from properties.truth.oracle import merge


@clause(
    "causality/future-does-not-change-past",
    Level.MUST,
    "Exchanging the tokens after a position changes no output up to that position.",
    families=CAUSAL_FAMILIES,
    counts=A_FUTURE,
    after=("numerics/deterministic-in-eval",),
)
def future_does_not_change_past(case: Case) -> float:
    """A hidden key has weight zero, and zero times a finite value adds nothing. Two runs of a right
    implementation may differ by the sum of their error budgets.
    """
    kept = case.cut + 1
    exchanged = np.concatenate([case.x[:, :kept], case.other[:, kept:]], axis=1)
    after, before = case.run(exchanged)[:, :kept], case.output[:, :kept]
    allowed = difference(case)[:, :kept]
    return near("an unchanged output of", after, before, allowed, "batch token column")


@clause(
    "causality/future-stays-out-at-any-dropout",
    Level.MUST,
    "In eval mode a module that was built with dropout hides the future, too.",
    families=CAUSAL_FAMILIES,
    needs={"dropout"},
    counts=Condition(
        "a future that differs from the one it is exchanged for, and a probability between 0 and 1",
        lambda case: A_FUTURE.holds(case) and 0.0 < case.dropout < 1.0,
    ),
    after=("causality/future-does-not-change-past",),
    examples=6,
)
def future_stays_out_at_any_dropout(case: Case) -> float:
    """A kernel is often chosen by the probability, and what it is then told of the mask is another
    line of code. Both runs start from the same seed, so that dropout which is alive in eval, another
    fault, drops the same in both.
    """
    kept = case.cut + 1
    exchanged = np.concatenate([case.x[:, :kept], case.other[:, kept:]], axis=1)
    after, before = (case.run(x, dropout=case.dropout)[:, :kept] for x in (exchanged, case.x))
    what = f"with dropout {case.dropout} in eval an unchanged output of"
    return near(what, after, before, difference(case)[:, :kept], "batch token column")


@clause(
    "causality/future-gradient-is-zero",
    Level.MUST,
    "The gradient of what a position puts out with respect to the tokens after it is zero.",
    families=CAUSAL_FAMILIES,
    needs={"module", "gradients"},
    counts=SEVERAL_TOKENS,
    after=(
        "causality/future-does-not-change-past",
        "causality/every-past-token-is-seen",
    ),
)
def future_gradient_is_zero(case: Case) -> float:
    """A mask that only corrects values leaves the way back open. Exactly zero with minus infinity
    before the softmax; what rounding may leave of a renormalised mask is in `budgets/causality.py`.
    """
    kept = before_the_end(case) + 1
    upstream = case.upstream.copy()
    upstream[:, kept:] = 0.0
    gradient = case.build().gradients(case.x, upstream)["x"]
    allowed = hidden_gradient(case, upstream, gradient)
    hidden = gradient.copy()
    hidden[:, :kept] = 0.0
    return near("a gradient of", hidden, 0.0, allowed, "batch token column")


@clause(
    "causality/prefix-gives-prefix",
    Level.MUST,
    "The first n tokens alone give the first n rows of the whole output, for every n.",
    families=CAUSAL_FAMILIES,
    counts=SEVERAL_TOKENS,
    after=("causality/future-does-not-change-past",),
)
def prefix_gives_prefix(case: Case) -> float:
    """What generates one token after the other relies on it: what is out stays as it is."""
    instance = case.build()
    worst = 0.0
    for n in range(1, case.sizes.tokens):
        prefix, whole, allowed = (
            part[:, :n] for part in (instance.run(case.x[:, :n]), case.output, difference(case))
        )
        share = near(f"from {n} tokens as from all", prefix, whole, allowed, "batch token column")
        worst = max(worst, share)
    return worst


@clause(
    "causality/first-token-returns-its-own-value",
    Level.MUST,
    "The context of the first token is its own value.",
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
def first_token_returns_its_own_value(case: Case) -> float:
    """It sees one key, whose weight is exp(0) / exp(0) = 1, whatever its score."""
    probe = exact_inputs(case)
    values = merge(repeated(probe.trace.values[:, :, :1], case.sizes.heads))[:, 0]
    first, allowed = probe.output[:, 0], probe.budget.output[:, 0]
    return near("the value", first, values, allowed, "batch column")


@clause(
    "causality/every-past-token-is-seen",
    Level.MUST,
    "A query gives a weight above zero to every key that is not hidden from it, however far away.",
    needs={"projections"},
    after=(
        "numerics/deterministic-in-eval",
        "heads/split-equals-per-head-matmul",
        "heads/wrapper-concatenates-in-order",
    ),
)
def every_past_token_is_seen(case: Case) -> None:
    """A mask may also hide too much: a window, a shifted diagonal, a mask of a fixed size. The
    sequence has 12 to 33 tokens, whatever the case has, and no score exceeds 2, so no weight is
    below exp(-4) / 33.
    """
    probe = long_sequence(case)
    weights = read_weights(probe, probe.output)
    for b, h, query, key in np.argwhere((seen(probe) > 0) & ~(weights > 0.0))[:1]:
        require(
            False,
            f"a weight above zero among {probe.sizes.tokens} tokens",
            f"{weights[b, h, query, key]:.6g}",
            head=int(h),
            query=int(query),
            key=int(key),
        )


def long_sequence(case: Case) -> Case:
    """One sequence of 12 to 33 tokens, moderate scores, at most three heads, weights visible."""
    g = np.random.default_rng(case.seed)
    shape = (1, min(case.sizes.heads, 3), 12 + case.seed % 22, 4)
    queries, keys = (g.integers(-8, 9, size=shape) / 16.0 for _ in range(2))
    if case.subject.has("one group"):
        keys = keys[:, :1]
    if case.subject.family == "plain":
        sizes = replace(case.sizes, batch=1, tokens=shape[2])
        return with_visible_weights(replace(case, sizes=sizes, x=queries[:, 0]))
    return showing_weights(case, queries, keys)


def narrowest(case: Case) -> str:
    """The format of the least range that queries and keys pass through."""
    positions = case.subject.positions
    wide = case.dtype == "float64"
    return positions.angles(case.dtype) if wide and positions is not None else case.dtype


@clause(
    "causality/huge-future-stays-out",
    Level.MUST,
    "Hidden keys that score 1024, with values at the end of the range, change no output before them.",
    families=CAUSAL_FAMILIES,
    needs={"projections"},
    counts=SEVERAL_TOKENS,
    after=(
        "causality/future-does-not-change-past",
        "heads/split-equals-per-head-matmul",
        "heads/wrapper-concatenates-in-order",
    ),
)
def huge_future_stays_out(case: Case) -> float:
    """Scores of 1024 must be withstood where they are seen (`numerics/large-scores-stay-finite`), so they
    are hidden here: less a constant such as 100 they still dominate, and where weights are zeroed after the
    softmax nothing is left to divide. Every product stays finite, so zero times a hidden value is zero.
    """
    own = exact_inputs(case).trace.queries
    head_dim = wide_enough(case, (*own.shape[:-1], own.shape[-1] + 1))
    return unchanged_by_hidden(case, STEEP * 2.0 ** np.ceil(np.log2(head_dim) / 2))


def end_of_range(case: Case) -> float:
    """A quarter of the largest number. Where queries and keys are turned in float32, which all that is
    wider passes through, that of float32.
    """
    return float(2.0 ** (np.floor(np.log2(FORMATS[narrowest(case)].largest)) - 2))


def unchanged_by_hidden(case: Case, product: float) -> float:
    """The share of the bound by which an output before them differs, for hidden keys with which every
    product is this one, and hidden values at the end of the range.
    """
    kept = before_the_end(case) + 1
    own = exact_inputs(case).trace
    queries, keys = (pad(part, part.shape[-1] + 1) for part in (own.queries, own.keys))
    values = pad(own.values, queries.shape[-1])
    queries[..., -1] = 1.0
    quiet = with_queries_keys_values(case, queries, keys, values)
    keys[..., kept:, :], values[..., kept:, :] = 0.0, end_of_range(case)
    keys[..., kept:, -1] = product
    loud = with_queries_keys_values(case, queries, keys, values)
    after, before = (part[:, :kept] for part in (loud.output, quiet.output))
    return near(
        "an unchanged output of",
        after,
        before,
        lambda: difference(quiet)[:, :kept],
        "batch token column",
    )


@clause(
    "causality/nan-future-stays-out",
    Level.MAY,
    "A NaN in a token changes no output before it.",
    families=CAUSAL_FAMILIES,
    counts=SEVERAL_TOKENS,
    after=("causality/future-does-not-change-past",),
)
def nan_future_stays_out(case: Case) -> float:
    """Zero times NaN is NaN, so only what never touches a hidden value can do this: a kernel that
    skips hidden blocks, or one query after the other over its own slice.
    """
    kept = before_the_end(case) + 1
    x = case.x.copy()
    x[:, kept:] = np.nan
    after, before, allowed = (
        part[:, :kept] for part in (case.run(x), case.output, difference(case))
    )
    return near("an unchanged output of", after, before, allowed, "batch token column")
