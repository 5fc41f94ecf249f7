"""heads/: heads work side by side, each on its own columns, and never mix.

Legend: B batch, T tokens, H heads, D head_dim, W = H * D.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache, partial

import numpy as np

from properties.basics.assertions import near, require
from properties.basics.dtypes import Array
from properties.cases.budgets import difference
from properties.cases.case import Case, take_weights
from properties.cases.devices import pad, with_queries_keys_values
from properties.spec.clause import Condition, Level, clause
from properties.spec.clauses.conditions import (
    ALIVE,
    SEVERAL_HEADS,
    SEVERAL_TOKENS,
    exact_inputs,
    moderate_queries_and_keys,
    spread,
    with_identity_out,
)
from properties.subjects.subject import HEADED_FAMILIES, JOINED_FAMILIES
from properties.truth import oracle
from properties.truth.attend import repeated

TWO_HEADS = Condition("at least two heads", lambda case: case.sizes.heads > 1)


@clause(
    "heads/split-equals-per-head-matmul",
    Level.MUST,
    "Splitting the width into H heads gives each head what attention on its columns alone gives.",
    families=JOINED_FAMILIES,
    needs={"projections"},
    counts=SEVERAL_HEADS,
    after=("argument/num-heads-has-effect",),
)
def split_equals_per_head_matmul(case: Case) -> float:
    """The subject with H heads against the same subject with one head, fed with the queries, keys
    and values of one of them. No oracle: a fault shared by both (a missing mask, say) is another
    clause's; a view without a transpose, or a width taken for head_dim, shows here.
    """
    together, head = exact_inputs(case), chosen_head(case)
    alone, columns = one_head(together, head), head_columns(together, head)
    # The queries, keys and values are the same, so both have the error budget of the larger module.
    actual, allowed = (part[..., columns] for part in (together.output, difference(together)))
    expected = alone.output[..., : together.sizes.head_dim]
    return near(f"head {head} alone:", actual, expected, allowed, "batch token column")


def chosen_head(case: Case) -> int:
    """One of the heads, another one from case to case."""
    return case.seed % case.sizes.heads


def head_columns(case: Case, head: int) -> slice:
    """The columns of one head among those of all."""
    return slice(head * case.sizes.head_dim, (head + 1) * case.sizes.head_dim)


def one_head(case: Case, head: int) -> Case:
    """The same queries, keys and values of one head in a module with that head alone."""
    t, chosen = case.trace, slice(head, head + 1)
    own = (repeated(part, case.sizes.heads)[:, chosen] for part in (t.queries, t.keys, t.values))
    single = replace(case, sizes=replace(case.sizes, heads=1))
    return with_queries_keys_values(single, *own)


@clause(
    "heads/wrapper-width",
    Level.MUST,
    "The wrapper's output is d_out * H wide.",
    families={"wrapper"},
    counts=TWO_HEADS,
    after=(),
)
def wrapper_width(case: Case) -> None:
    """Every head keeps its d_out columns; concatenating H of them multiplies the width."""
    width = case.output.shape[-1]
    expected = case.sizes.head_dim * case.sizes.heads
    require(
        width == expected,
        f"{case.sizes.head_dim} columns for each of {case.sizes.heads} heads: {expected}",
        str(width),
    )


@clause(
    "heads/wrapper-concatenates-in-order",
    Level.MUST,
    "Columns h * d_out to (h + 1) * d_out of the wrapper's output are those of head h.",
    families={"wrapper"},
    needs={"projections"},
    counts=SEVERAL_HEADS,
    after=("numerics/deterministic-in-eval",),
    shared=False,
)
def wrapper_concatenates_in_order(case: Case) -> float:
    """The wrapper with H heads against the wrapper with one of them alone, on the same input."""
    probe, s, head = with_identity_out(case), case.sizes, chosen_head(case)
    columns = head_columns(case, head)
    weights = take_weights(probe.weights, range(s.d_in), range(s.width)[columns])
    alone = replace(probe, sizes=replace(s, heads=1), weights=weights)
    actual, allowed = (part[..., columns] for part in (probe.output, difference(probe)))
    return near(f"head {head} alone:", actual, alone.output, allowed, "batch token column")


@clause(
    "heads/wrapper-equals-multihead-with-identity-projection",
    Level.MUST,
    "Heads side by side and weight splits with the identity as output projection compute the same.",
    families=HEADED_FAMILIES,
    needs={"projections"},
    counts=SEVERAL_HEADS,
    unless={"one group"},
    after=(
        "heads/split-equals-per-head-matmul",
        "heads/wrapper-concatenates-in-order",
        "heads/one-head-equals-causal",
    ),
    shared=False,
)
def wrapper_equals_multihead(case: Case) -> float:
    """Each arrangement is held against the formula of the other one: weight splits against single
    heads on their columns, concatenated; heads side by side against the split of one wide product.
    """
    probe = with_identity_out(case)
    other = side_by_side if case.subject.family in JOINED_FAMILIES else split_from_one
    return near(
        "of the other arrangement",
        probe.output,
        other(probe),
        probe.budget.output,
        "batch token column",
    )


def side_by_side(case: Case) -> Array:
    """The context of one head after the other, concatenated."""
    rows, width = range(case.sizes.d_in), range(case.sizes.width)
    alone = (
        take_weights(case.weights, rows, width[head_columns(case, head)])
        for head in range(case.sizes.heads)
    )
    return np.concatenate(
        [
            oracle.attention(case.x, w, request=case.request, positions=case.rotary).context
            for w in alone
        ],
        axis=-1,
    )


def split_from_one(case: Case) -> Array:
    """The context of all heads at once."""
    return oracle.attention(
        case.x,
        case.weights,
        heads=case.sizes.heads,
        request=case.request,
        positions=case.rotary,
    ).context


@clause(
    "heads/one-head-equals-causal",
    Level.MUST,
    "With H = 1 and the identity as output projection the output is that of one head.",
    families=HEADED_FAMILIES,
    needs={"projections"},
    counts=SEVERAL_TOKENS,
    after=(
        "causality/future-does-not-change-past",
        "causality/every-past-token-is-seen",
        "weights/log-odds-are-scaled-score-differences",
        "argument/qkv-bias-has-effect",
    ),
    shared=False,
)
def one_head_equals_causal(case: Case) -> float:
    """One head is head_dim = d_out wide, so nothing is left to split, merge or concatenate."""
    alone = with_identity_out(case.take(heads=[chosen_head(case)]))
    expected, allowed = alone.trace.context, alone.budget.output
    return near("one head's", alone.output, expected, allowed, "batch token column")


@clause(
    "heads/permuting-heads-permutes-blocks",
    Level.MUST,
    "Putting the heads' weights in another order puts their columns in that order.",
    families=HEADED_FAMILIES,
    needs={"projections"},
    counts=TWO_HEADS,
    unless={"one group"},
    after=(
        "heads/split-equals-per-head-matmul",
        "heads/wrapper-concatenates-in-order",
    ),
    shared=False,
)
def permuting_heads_permutes_blocks(case: Case) -> float:
    """All heads follow one formula; only their weights tell them apart. The head that is first is
    masked, scaled and normalised like any other.
    """
    s = case.sizes
    probe = with_identity_out(case)
    order = np.roll(np.arange(s.heads), 1 + chosen_head(case) % max(1, s.heads - 1))
    columns = np.arange(s.width).reshape(s.heads, -1)[order].ravel()
    moved = take_weights(probe.weights, range(s.d_in), columns.tolist())
    expected, allowed = (part[..., columns] for part in (probe.output, difference(probe)))
    actual = replace(probe, weights=moved).output
    return near("the same head's", actual, expected, allowed, "batch token column")


@lru_cache(maxsize=ALIVE)
def separate_inputs(case: Case) -> Case:
    """The case in which every head reads input columns of its own: block-diagonal projections."""
    s, w = case.sizes, case.weights
    assert w is not None  # the clauses that ask need projections
    own = s.d_in if case.subject.has("rectangular") else s.head_dim

    def block_diagonal(matrix: Array) -> Array:
        wide = np.zeros((s.heads, own, s.heads, s.head_dim))
        for head in range(s.heads):
            wide[head, :, head] = matrix[:own, head_columns(case, head)]
        return wide.reshape(s.heads * own, s.width)

    apart = replace(w, **{n: block_diagonal(getattr(w, n)) for n in ("query", "key", "value")})
    x, other = (np.tile(part[..., :own], s.heads) for part in (case.x, case.other))
    sizes = replace(s, d_in=s.heads * own)
    return with_identity_out(replace(case, sizes=sizes, x=x, other=other, weights=apart))


def of_chosen_head(probe: Case, head: int) -> Array:
    """(d_in,): which input columns of `separate_inputs` the head reads."""
    heads, d_in = probe.sizes.heads, probe.sizes.d_in
    return np.asarray(np.repeat(np.arange(heads) == head, d_in // heads))


@clause(
    "heads/head-isolation",
    Level.MUST,
    "What only one head reads changes the columns of that head alone.",
    families=HEADED_FAMILIES,
    needs={"projections"},
    counts=TWO_HEADS,
    unless={"one group"},
    after=(
        "heads/split-equals-per-head-matmul",
        "heads/wrapper-concatenates-in-order",
    ),
    shared=False,
)
def head_isolation(case: Case) -> float:
    """Block-diagonal projections give every head input columns of its own. Those of one head are
    exchanged; the others' queries, keys and values stay what they are.
    """
    probe, head = separate_inputs(case), chosen_head(case)
    exchanged = np.where(of_chosen_head(probe, head), probe.other, probe.x)
    others = partial(np.delete, obj=head_columns(probe, head), axis=-1)
    return near(
        "in another head an unchanged",
        others(probe.run(exchanged)),
        others(probe.output),
        lambda: others(difference(probe)),
        "batch token column",
    )


@clause(
    "heads/head-isolation-in-gradients",
    Level.MUST,
    "The gradient of one head's columns with respect to what only other heads read is zero.",
    families=HEADED_FAMILIES,
    needs={"projections", "module", "gradients"},
    counts=TWO_HEADS,
    unless={"one group"},
    after=(
        "heads/split-equals-per-head-matmul",
        "heads/wrapper-concatenates-in-order",
    ),
    shared=False,
)
def head_isolation_in_gradients(case: Case) -> float:
    """Exactly zero: the upstream of the other heads is zero, and so are the projections that lead
    from this head to their inputs. Where its own gradient overflows the format, nothing is claimed.
    """
    probe, head = separate_inputs(case), chosen_head(case)
    upstream = np.zeros_like(probe.upstream)
    upstream[..., head_columns(probe, head)] = probe.upstream[..., head_columns(probe, head)]
    gradient = probe.build().gradients(probe.x, upstream)["x"]
    own = of_chosen_head(probe, head)
    foreign = np.where(own, 0.0, gradient)
    allowed = 0.0 if np.isfinite(gradient[..., own]).all() else np.inf
    return near("another head's gradient of", foreign, 0.0, allowed, "batch token column")


@lru_cache(maxsize=ALIVE)
def one_role_each(case: Case) -> Case:
    """Four batch items: one as it is, then with the queries, keys or values of one head negated.

    Scores are moderate, and values one-hot, so that all three show in that head's columns.
    """
    head, tokens = chosen_head(case), case.sizes.tokens
    queries, keys = moderate_queries_and_keys(case)
    keys = repeated(keys, case.sizes.heads)
    head_dim = max(tokens, queries.shape[-1])
    one_hot = np.broadcast_to(np.eye(tokens, head_dim), (1, *queries.shape[1:-1], head_dim))
    parts = [np.repeat(pad(part[:1], head_dim), 4, axis=0) for part in (queries, keys, one_hot)]
    for item, part in enumerate(parts, start=1):
        part[item, head] *= -1.0
    return with_queries_keys_values(case, *parts)


A_HEAD_AMONG_OTHERS = Condition(
    "at least two heads, of which the one looked at sees two keys with different scores",
    lambda case: (
        case.sizes.heads > 1 and bool(np.any(spread(one_role_each(case))[0, chosen_head(case)] > 0))
    ),
)


@clause(
    "heads/heads-have-their-own-weights",
    Level.MUST,
    "The queries, keys and values of a head are its own: each of the three changes its columns.",
    families=HEADED_FAMILIES,
    needs={"projections"},
    counts=A_HEAD_AMONG_OTHERS,
    unless={"one group"},
    after=(
        "heads/split-equals-per-head-matmul",
        "heads/wrapper-concatenates-in-order",
        "heads/one-head-equals-causal",
    ),
)
def heads_have_their_own_weights(case: Case) -> None:
    """Heads that share a projection, or values that are keys, leave a parameter without effect.
    Each of the three is negated in one head; where the formula's output moves by more than twice
    its budget, the subject's must move by more than that budget.
    """
    probe, head = one_role_each(case), chosen_head(case)
    found, true, budget = (
        part[..., head_columns(probe, head)]
        for part in (probe.output, probe.trace.output, probe.budget.output)
    )
    for item, role in enumerate(("queries", "keys", "values"), start=1):
        allowed = budget[item] + budget[0]
        clear = abs(true[item] - true[0]) > 2.0 * allowed
        moved = clear & (abs(found[item] - found[0]) > allowed)
        require(
            bool(moved.any() or not clear.any()),
            f"other columns of head {head} once its {role} are negated",
            "the same columns",
        )
