"""Heads in another order, heads that share what is not shared, columns in another place.

Legend: B batch, H heads, T queries, S keys, D head_dim, E columns of a value, W columns of all heads.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from properties.basics.dtypes import Array
from properties.truth import visibility
from properties.vectors.call import Call, Parts
from properties.vectors.vector import Vector
from properties.vectors.wrong.bare import as_many_keys, bare, giving


def by_columns(part: Array) -> Array:
    """(B, T, W) that is viewed as (B, T, D, H) where it was written as (B, T, H, D)."""
    batch, heads, tokens, width = part.shape
    flat = part.transpose(0, 2, 1, 3).reshape(batch, tokens, width, heads)
    return flat.transpose(0, 3, 1, 2)


def to_columns(part: Array) -> Array:
    """The other way: heads take turns, column by column."""
    batch, heads, tokens, width = part.shape
    flat = part.transpose(0, 2, 3, 1).reshape(batch, tokens, heads, width)
    return flat.transpose(0, 2, 1, 3)


@bare("heads interleaved")
def interleaved(vector: Vector) -> Parts:
    """Head h takes every H-th column, of queries, keys, values and output."""
    call = vector.call
    q, k, v = (by_columns(part) for part in (call.queries, call.keys, call.values))
    parts = replace(call, queries=q, keys=k, values=v).parts
    return replace(parts, output=to_columns(parts.output))


@bare("heads take turns in the output")
def turns(vector: Vector) -> Parts:
    """(B, T, E, H) is flattened where (B, T, H, E) is read."""
    return giving(vector.call, to_columns(vector.call.parts.output))


@bare("heads in reverse order")
def reversed_order(vector: Vector) -> Parts:
    """The first head's columns come last."""
    return giving(vector.call, vector.call.parts.output[:, ::-1])


@bare("heads averaged")
def averaged(vector: Vector) -> Parts:
    """Every head's columns hold the mean of all heads."""
    output = vector.call.parts.output
    return giving(vector.call, np.broadcast_to(output.mean(axis=1, keepdims=True), output.shape))


@bare("each head added to the next")
def added_up(vector: Vector) -> Parts:
    """A sum that is not set back."""
    return giving(vector.call, vector.call.parts.output.cumsum(axis=1))


def one_output(head: int) -> None:
    """Enter a head that is there as often as there are heads."""

    @bare("output of one head for all")
    def for_all(vector: Vector) -> Parts:
        """One head, as often as there are heads."""
        output = vector.call.parts.output
        return giving(vector.call, np.broadcast_to(output[:, [head]], output.shape))


one_output(0)
one_output(-1)


@bare("queries of the first head for all")
def first_queries(vector: Vector) -> Call:
    """One projection of queries serves all heads."""
    call = vector.call
    return replace(call, queries=np.broadcast_to(call.queries[:, :1], call.queries.shape))


@bare("last head left zero")
def last_zero(vector: Vector) -> Parts:
    """Heads are computed in pairs, and one without a partner is not."""
    output = np.array(vector.call.parts.output)
    output[:, -1] = 0.0
    return giving(vector.call, output)


@bare("attends over the heads")
def over_heads(vector: Vector) -> Parts | None:
    """(B, T, H, D) is read as (B, H, T, D): the tokens are taken for heads."""
    if not vector.options.causal or not as_many_keys(vector):
        return None
    call, heads = vector.call, vector.shape[1]
    q, k, v = (part.swapaxes(1, 2) for part in (call.queries, call.keys, call.values))
    request = replace(call.request, visible=visibility.causal(heads, heads))
    found = replace(call, queries=q, keys=k, values=v, request=request).parts
    return replace(call.parts, output=found.output.swapaxes(1, 2), lse=found.lse.swapaxes(1, 2))


@bare("one head as wide as all")
def one_head(vector: Vector) -> Parts | None:
    """The number of heads is not read."""
    call = vector.call
    batch, heads, tokens, _ = call.shape
    if heads == 1:
        return None
    q, k, v = (
        part.transpose(0, 2, 1, 3).reshape(batch, part.shape[2], 1, -1).transpose(0, 2, 1, 3)
        for part in (call.queries, call.keys, call.values)
    )
    request = replace(call.request, visible=vector.visible[:, :1])
    parts = replace(call, queries=q, keys=k, values=v, request=request).parts
    output = parts.output.reshape(batch, tokens, heads, -1).transpose(0, 2, 1, 3)
    lse = np.broadcast_to(parts.lse, (batch, heads, tokens))
    return replace(call.parts, output=output, lse=lse)


@bare("last head forgets the first key")
def last_head(vector: Vector) -> Call | None:
    """An index that runs one too far in one head; the first query keeps its only key."""
    if vector.shape[1] == 1 or vector.shape[3] == 1:
        return None
    seen = np.ones(vector.shape, dtype=np.bool_)
    seen[:, -1, 1:, 0] = False
    return vector.call.seeing(seen)


@bare("causal in the first head alone")
def first_causal(vector: Vector) -> Call | None:
    """The mask is broadcast along the wrong axis, and the other heads see the future."""
    if not vector.options.causal:
        return None
    seen = np.ones(vector.shape, dtype=np.bool_)
    seen[:, :1] = vector.visible[:, :1]
    return replace(vector.call, request=replace(vector.call.request, visible=seen))


@bare("keys from the queries")
def keys_from_queries(vector: Vector) -> Call | None:
    """One line copied and not changed: scores are symmetric."""
    return replace(vector.call, keys=vector.call.queries) if as_many_keys(vector) else None


@bare("queries and keys exchanged")
def exchanged(vector: Vector) -> Call | None:
    """A token looks at others as they should look at it."""
    call = vector.call
    if not as_many_keys(vector):
        return None
    return replace(call, queries=call.keys, keys=call.queries)


@bare("values added to the output")
def residual(vector: Vector) -> Parts | None:
    """A token's own value is added to what it reads."""
    call = vector.call
    return giving(call, call.parts.output + call.values) if as_many_keys(vector) else None


@bare("columns of values shifted by one")
def shifted(vector: Vector) -> Call:
    """Each column of a head holds the one before it."""
    return replace(vector.call, values=np.roll(vector.call.values, 1, axis=-1))


@bare("first column of queries and keys counted twice")
def first_column(vector: Vector) -> Call:
    """Blocks of columns overlap by one."""
    call = vector.call
    q, k = (np.concatenate([part[..., :1], part], axis=-1) for part in (call.queries, call.keys))
    request = replace(call.request, scale=call.request.factor(call.queries.shape[-1]))
    return replace(call, queries=q, keys=k, request=request)


@bare("last column of queries and keys ignored")
def last_column(vector: Vector) -> Call | None:
    """A slice that ends one too early, or columns taken two at a time."""
    call = vector.call
    width = call.queries.shape[-1]
    if width == 1:
        return None
    q, k = (part[..., :-1] for part in (call.queries, call.keys))
    request = replace(call.request, scale=call.request.factor(width))
    return replace(call, queries=q, keys=k, request=request)
