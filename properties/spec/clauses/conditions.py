"""The discriminating conditions that several clauses share, and the views of a case they read.

Legend: B batch, T tokens, H heads, D head_dim.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from itertools import count

import numpy as np

from properties.basics.dtypes import FORMATS, Array
from properties.cases.case import Case
from properties.cases.devices import pad, with_queries_keys_values, with_visible_weights
from properties.spec.clause import Condition
from properties.truth.parameters import Weights

ALIVE = 16  # cases whose derived probes are kept: one is enough for a run, a few for a reduction

SEVERAL_TOKENS = Condition("at least two tokens", lambda case: case.sizes.tokens > 1)
SEVERAL_ITEMS = Condition("at least two batch items", lambda case: case.sizes.batch > 1)
SEVERAL_HEADS = Condition(
    "at least two heads and two tokens",
    lambda case: case.sizes.heads > 1 and case.sizes.tokens > 1,
)
A_FUTURE = Condition(
    "a future that differs from the one it is exchanged for",
    lambda case: bool(np.any(case.x[:, case.cut + 1 :] != case.other[:, case.cut + 1 :])),
)
IN_RANGE = Condition(
    "two tokens or more, and no magnitude leaves the format's range",
    lambda case: case.sizes.tokens > 1 and case.budget.claims,
)


@lru_cache(maxsize=ALIVE)
def visible(case: Case) -> Case:
    """The probe whose output holds the case's attention weights; shared by all who read them."""
    return with_visible_weights(case)


@lru_cache(maxsize=ALIVE)
def moderate(case: Case) -> Case:
    """The probe that shows the weights of queries and keys shrunk or grown to moderate scores.

    Every |score| / sqrt(D) is at most 4, so that no weight is too small to be read. Where the
    family allows it, the sizes B, T, H, head_dim, d_in and d_out are pairwise different.
    """
    return with_constant(case, 0.0)


def with_constant(case: Case, c: float) -> Case:
    """The probe `moderate` with c or -c, from row to row, added to all scores of a query.

    A dimension more does that: query i has c or -c there, every key 1. The plain family, where they
    are the same, has the root of c in it and adds c to every row.
    """
    if case.subject.family == "plain":
        x = shrunk(case.x, 1)
        root = np.full((*x.shape[:-1], 1), np.sqrt(c))
        return with_visible_weights(replace(case, x=np.concatenate([x, root], axis=-1)))
    queries, keys = (pad(p, p.shape[-1] + 1) for p in moderate_queries_and_keys(case))
    queries[..., -1] = np.where(np.arange(case.sizes.tokens) % 2, c, -c)
    keys[..., -1] = 1.0
    return showing_weights(case, queries, keys)


def moderate_queries_and_keys(case: Case) -> tuple[Array, Array]:
    """The case's queries and keys times powers of two that make the scores moderate."""
    fmt, trace, head_dim = FORMATS[case.dtype], case.trace, case.sizes.head_dim
    queries, keys = (fmt.round(shrunk(part, head_dim)) for part in (trace.queries, trace.keys))
    return queries, keys


def shrunk(part: Array, head_dim: int) -> Array:
    """`part` (..., D) times a power of two: its longest row is 1 to 2 times D ** 0.25 long."""
    longest = float(np.sqrt((part**2).sum(axis=-1)).max(initial=0.0))
    return part * 2.0 ** np.floor(np.log2(2.0 * head_dim**0.25 / longest)) if longest else part


def showing_weights(case: Case, queries: Array, keys: Array) -> Case:
    """The case with these queries (B, H, T, D) and keys (B, G, T, D) whose output holds the weights.

    head_dim is the first above D and T at which no two sizes are the same.
    """
    batch, heads, tokens, dims = queries.shape
    one_token_each = batch * tokens
    taken = {batch, heads, tokens, one_token_each}
    least = max(dims, tokens)
    if not case.subject.has("rectangular"):
        least = max(least, -(-one_token_each // heads))
    allowed = case.subject.limits.head_dim
    head_dim = next(n for n in count(least) if n == allowed(n) and taken.isdisjoint({n, n * heads}))
    one_hot = np.broadcast_to(np.eye(tokens, head_dim), (*keys.shape[:3], head_dim))
    return with_queries_keys_values(case, pad(queries, head_dim), pad(keys, head_dim), one_hot)


@lru_cache(maxsize=ALIVE)
def with_identity_out(case: Case) -> Case:
    """The case whose output projection, where there is one, passes the context on."""
    w = case.weights
    if w is None or w.out is None:
        return case
    still = without_out_bias(w)
    return replace(case, weights=replace(still, out=np.eye(case.sizes.width)))


def without_out_bias(w: Weights) -> Weights:
    """The weights with zero for the bias of the output, where there is one: none is left to the adapter."""
    return w if w.out_bias is None else replace(w, out_bias=np.zeros_like(w.out_bias))


@lru_cache(maxsize=ALIVE)
def exact_inputs(case: Case) -> Case:
    """The case whose queries, keys and values are this case's own, rounded to its dtype.

    The output is the context. The plain family is left as it is.
    """
    if case.subject.family == "plain":
        return case
    fmt, t = FORMATS[case.dtype], case.trace
    # As wide as one head alone would have to be to take a one-hot token for each of them.
    room = 0 if case.subject.has("rectangular") else case.sizes.batch * case.sizes.tokens
    return with_queries_keys_values(
        case, *(pad(fmt.round(part), room) for part in (t.queries, t.keys, t.values))
    )


def equal_scores(case: Case) -> Case:
    """One item whose queries and keys are zero and whose output holds the attention weights."""
    s = case.sizes
    queries, keys = (np.zeros((1, n, s.tokens, s.tokens)) for n in (s.heads, s.key_heads))
    return with_queries_keys_values(case, queries, keys, keys + np.eye(s.tokens))


def seen(case: Case) -> Array:
    """(T, T): 1 where query i may see key j, else 0."""
    return case.request.visible.astype(np.float64)


def spread(case: Case) -> Array:
    """How far apart the scores are that a query sees, (B, H, T)."""
    among, scores = seen(case) > 0, case.trace.scores
    largest = np.where(among, scores, -np.inf).max(axis=-1)
    smallest = np.where(among, scores, np.inf).min(axis=-1)
    return np.asarray(largest - smallest)


def claimed(case: Case, allowed: Array | float) -> Array | float:
    """`allowed`, or anything where the arithmetic may leave the format's range."""
    return allowed if case.budget.claims else np.inf


def before_the_end(case: Case) -> int:
    """The case's cut, moved if it must be so that a token comes after it."""
    return max(0, min(case.cut, case.sizes.tokens - 2))


DIFFERENT_SCORES = Condition(
    "a query that sees two keys with different scores",
    lambda case: bool(np.any(spread(moderate(case)) > 0)),
)
