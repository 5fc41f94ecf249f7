"""Two devices that open a black box: any queries, keys and values in, the attention weights out.

**One-hot tokens.** With x_t = e_t, row t of a projection *is* the query, key or value of token t,
exactly: products by 0 and 1 are exact, and so are sums with zeros. (Where positions turn queries and
keys, the rows are turned back before.) So every law about queries, keys and values applies to any
module whose projections can be loaded. d_in must be at least B * T, which a module with d_in = H * D
meets by a larger head_dim, its extra columns zero.

**One-hot values.** With v_t = e_t in every head and the identity as output projection, the output is
the weight matrix, head by head, in the first T columns of each head.

The plain family has no projections, and q = k = v = x; there x = [a | identity] adds 1 to the score
of a token with itself, and the last T columns of the output are the weights.

Legend: B batch, T tokens, H heads, G heads of keys and values, D head_dim.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from properties.basics.dtypes import FORMATS, Array
from properties.basics.errors import OutsideError
from properties.cases.case import Case
from properties.subjects.subject import Subject
from properties.truth.attend import repeated
from properties.truth.parameters import Weights


def with_queries_keys_values(case: Case, queries: Array, keys: Array, values: Array) -> Case:
    """The case whose queries, keys and values are those given, (B, H, T, D') and twice (B, G, T, D').

    D' may be smaller than the new head_dim: the rest is filled with zeros. Fewer heads of keys and
    values than of queries stay as they are where the module can be told so, else each is written out
    for every head that reads it. Where positions turn queries and keys, those given are as they meet,
    to within the rounding of the case's format. OutsideError where the module has one head of keys
    and values for all, and several that differ are given.
    """
    batch, heads, tokens, _ = queries.shape
    keys, values = in_groups(case.subject, heads, keys, values)
    head_dim = wide_enough(case, (batch, heads, tokens, values.shape[-1]))
    queries, keys = (turned_back(pad(part, head_dim), case) for part in (queries, keys))
    return as_projected(case, queries, keys, values)


def wide_enough(case: Case, shape: tuple[int, int, int, int]) -> int:
    """The smallest head_dim with which one-hot tokens have room, for queries (B, H, T, D')."""
    batch, heads, tokens, dims = shape
    if not case.subject.has("rectangular"):
        dims = max(dims, -(-batch * tokens // heads))
    return case.subject.limits.head_dim(dims)


def as_projected(case: Case, queries: Array, keys: Array, values: Array) -> Case:
    """The case whose projections give these queries (B, H, T, D'), keys and values (B, G, T, D'), before
    any of them is turned; see `with_queries_keys_values`.
    """
    batch, heads, tokens, _ = queries.shape
    keys, values = in_groups(case.subject, heads, keys, values)
    groups = keys.shape[1]
    head_dim = wide_enough(case, (batch, heads, tokens, values.shape[-1]))
    width = heads * head_dim
    d_in = batch * tokens if case.subject.has("rectangular") else width
    x = np.eye(batch * tokens, d_in).reshape(batch, tokens, d_in)
    query, key, value = (as_rows(part, d_in, head_dim) for part in (queries, keys, values))
    zero, narrow = np.zeros(width), np.zeros(groups * head_dim)
    biased = case.weights is not None and case.weights.query_bias is not None
    projected = case.weights is not None and case.weights.out is not None
    return replace(
        case,
        sizes=replace(
            case.sizes,
            batch=batch,
            tokens=tokens,
            heads=heads,
            head_dim=head_dim,
            groups=groups if groups < heads else 0,
            d_in=d_in,
            context_length=max(tokens, case.sizes.context_length),
        ),
        x=x,
        other=x,
        weights=Weights(
            query=query,
            key=key,
            value=value,
            query_bias=zero if biased else None,
            key_bias=narrow if biased else None,
            value_bias=narrow if biased else None,
            out=np.eye(width) if projected else None,
            out_bias=zero if projected and case.subject.has("out-bias") else None,
        ),
        cut=min(case.cut, tokens - 1),
    )


def turned_back(part: Array, case: Case) -> Array:
    """(B, H, T, D) before it is turned by its positions, in the case's format: afterwards it is `part`
    but for that rounding. As it is where the subject turns nothing.
    """
    positions = case.subject.positions
    if positions is None:
        return part
    back = positions.rotary(part.shape[2]).inverse
    return FORMATS[case.dtype].round(back.turn(part, back.queries))


def with_other_values(probe: Case, values: Array) -> Case:
    """A case made by `with_queries_keys_values` with other values (B, H, T, D), all else the same."""
    weights, s = probe.weights, probe.sizes
    if weights is None:
        raise ValueError("values were to be set of a case that has no projections")
    value = as_rows(in_groups(probe.subject, s.heads, values)[0], s.d_in, s.head_dim)
    return replace(probe, weights=replace(weights, value=value))


def in_groups(subject: Subject, heads: int, *parts: Array) -> list[Array]:
    """Keys and values with as many heads as a module can have where it has so many for queries."""
    groups = max(part.shape[1] for part in parts)
    if subject.has("one group") and heads > 1:
        if any(np.ptp(part, axis=1).any() for part in parts):
            raise OutsideError("keys or values that differ between heads")
        return [part[:, :1] for part in parts]
    groups = groups if subject.has("groups") else heads
    return [repeated(part, groups) for part in parts]


def as_rows(part: Array, d_in: int, head_dim: int) -> Array:
    """(B, H, T, D') -> (d_in, H * head_dim): row b*T + t holds what token t of item b projects to."""
    batch, heads, tokens, dims = part.shape
    rows = np.zeros((d_in, heads, head_dim))
    rows[: batch * tokens, :, :dims] = part.transpose(0, 2, 1, 3).reshape(-1, heads, dims)
    return rows.reshape(d_in, heads * head_dim)


def with_visible_weights(case: Case) -> Case:
    """The case with the same queries and keys whose output holds the attention weights."""
    batch, _, tokens, _ = case.trace.queries.shape
    if case.subject.family == "plain":
        one_hot = np.broadcast_to(np.eye(tokens), (batch, tokens, tokens))
        x = np.concatenate([case.x, one_hot], axis=-1)
        d_in = x.shape[-1]
        sizes = replace(case.sizes, d_in=d_in, head_dim=d_in)
        return replace(case, sizes=sizes, x=x, other=x)
    fmt = FORMATS[case.dtype]
    queries, keys = (pad(fmt.round(part), tokens) for part in (case.trace.queries, case.trace.keys))
    one_hot = np.broadcast_to(pad(np.eye(tokens), keys.shape[-1]), keys.shape)
    return with_queries_keys_values(case, queries, keys, one_hot)


def pad(part: Array, dims: int) -> Array:
    """(..., D) -> (..., max(D, dims)), filled up with zeros."""
    *others, own = part.shape
    padded = np.zeros((*others, max(own, dims)), part.dtype)
    padded[..., :own] = part
    return padded


def read_weights(probe: Case, output: Array) -> Array:
    """The attention weights (B, H, T, T) in an output of a case made by `with_visible_weights`."""
    s = probe.sizes
    if probe.subject.family == "plain":
        return output[:, None, :, -s.tokens :]
    by_head = output.reshape(s.batch, s.tokens, s.heads, s.head_dim)
    return by_head[..., : s.tokens].transpose(0, 2, 1, 3)
