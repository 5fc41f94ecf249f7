"""Axes that are taken for others, keys that are forgotten, a softmax over the wrong axis.

Legend: B batch, H heads of queries, G heads of keys and values, T queries, S keys, D head_dim, E columns
of a value.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from properties.basics.dtypes import Array
from properties.truth import visibility
from properties.truth.attend import softmax
from properties.vectors.call import Call, Parts, mixed
from properties.vectors.vector import Vector
from properties.vectors.wrong import step


@step("keys and values of the first item for all")
def first_item(vector: Vector) -> Call | None:
    """Of another item's."""
    call = vector.call
    keys, values = (np.broadcast_to(part[:1], part.shape) for part in (call.keys, call.values))
    return replace(call, keys=keys, values=values)


@step("values from the keys")
def values_from_keys(vector: Vector) -> Call | None:
    """Where they are as wide."""
    call = vector.call
    if call.keys.shape != call.values.shape:
        return None
    return replace(call, values=call.keys)


@step("heads split without a transpose")
def viewed(vector: Vector) -> Call:
    """(B, T, H * D) viewed as (B, H, T, D)."""
    call = vector.call
    q, k, v = (
        part.transpose(0, 2, 1, 3).reshape(part.shape)
        for part in (call.queries, call.keys, call.values)
    )
    return replace(call, queries=q, keys=k, values=v)


@step("heads merged without a transpose")
def merged_by_a_view(vector: Vector) -> Parts:
    """(B, H, T, E) viewed as (B, T, H * E)."""
    parts = vector.call.parts
    batch, heads, tokens, width = parts.output.shape
    viewed = parts.output.reshape(batch, tokens, heads, width).transpose(0, 2, 1, 3)
    return replace(parts, output=viewed)


@step("keys viewed as their transpose")
def keys_viewed(vector: Vector) -> Call:
    """(B, G, S, D) viewed as (B, G, D, S)."""
    call = vector.call
    batch, groups, keys, width = call.keys.shape
    return replace(call, keys=call.keys.reshape(batch, groups, width, keys).swapaxes(-1, -2))


@step("columns of keys and values in another order")
def columns(vector: Vector) -> Call:
    """(D, G) is read where (G, D) was written."""
    call = vector.call

    def read(part: Array) -> Array:
        batch, groups, keys, width = part.shape
        flat = part.transpose(0, 2, 1, 3).reshape(batch, keys, width, groups)
        return flat.transpose(0, 3, 1, 2)

    return replace(call, keys=read(call.keys), values=read(call.values))


@step("attends over the heads")
def over_heads(vector: Vector) -> Parts | None:
    """(B, T, H, D) is read as (B, H, T, D): the tokens are taken for heads."""
    call, told = vector.call, vector.options
    hiding = (told.mask, told.bias, told.padding, told.slopes, told.causal, told.window)
    plain = all(x is None for x in (*hiding, call.rotary, call.kept, told.starts))
    _, heads, tokens, keys = call.shape
    if not plain or tokens != keys or heads != call.keys.shape[1]:
        return None
    if told.sink is not None and tokens != heads:
        return None  # there is no sink for each token
    q, k, v = (part.swapaxes(1, 2) for part in (call.queries, call.keys, call.values))
    request = replace(call.request, visible=np.ones((1, 1), dtype=np.bool_))
    found = replace(call, queries=q, keys=k, values=v, request=request).parts
    right = call.parts
    return replace(right, output=found.output.swapaxes(1, 2), lse=found.lse.swapaxes(1, 2))


@step("softmax over the queries")
def over_queries(vector: Vector) -> Parts:
    """Each column sums to one."""
    return normalised(vector.call, axis=2)


@step("softmax over the heads")
def over_the_heads(vector: Vector) -> Parts:
    """All heads together sum to one."""
    return normalised(vector.call, axis=1)


def normalised(call: Call, axis: int) -> Parts:
    """Weights that sum to one along another axis."""
    attended = call.attended
    logits, seen = attended.logits.swapaxes(axis, -1), attended.seen.swapaxes(axis, -1)
    weights = softmax(logits, seen, None)[0].swapaxes(axis, -1)
    return replace(mixed(call, weights, attended), weights=weights)


@step("last key forgotten")
def last_key(vector: Vector) -> Call | None:
    """A loop that ends one early."""
    keys = vector.shape[3]
    return None if vector.options.starts else vector.call.seeing(np.arange(keys) < keys - 1)


@step("first key forgotten")
def first_key(vector: Vector) -> Call | None:
    """A loop that starts one late."""
    return None if vector.options.starts else vector.call.seeing(np.arange(vector.shape[3]) > 0)


@step("keys beyond the last whole tile forgotten")
def tail(vector: Vector) -> Call | None:
    """A loop over whole tiles of 64 keys, or of 4 where there are fewer."""
    keys = vector.shape[3]
    tile = 64 if keys > 64 else 4
    whole = keys - keys % tile
    if not whole or vector.options.starts:
        return None
    return vector.call.seeing(np.arange(keys) < whole)


@step("causal where nothing is hidden")
def causal_unasked(vector: Vector) -> Call | None:
    """The flag is not given, and taken for given."""
    if vector.options.causal or vector.options.starts:
        return None
    return vector.call.seeing(visibility.causal(*vector.shape[2:], vector.corner))


@step("query heads of an item exchanged with items")
def items_for_heads(vector: Vector) -> Call | None:
    """(H, B, T, D) is read as (B, H, T, D)."""
    call = vector.call
    batch, heads, _, _ = call.shape
    if batch != heads or call.keys.shape[1] != heads:
        return None
    q, k, v = (part.swapaxes(0, 1) for part in (call.queries, call.keys, call.values))
    return replace(call, queries=q, keys=k, values=v)
