"""Shared heads that are read wrongly.

Legend: B batch, H heads of queries, G heads of keys and values, T queries, S keys, D head_dim.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from properties.vectors.call import Call
from properties.vectors.vector import Vector
from properties.vectors.wrong import step


def shared(vector: Vector) -> int:
    """H / G."""
    return vector.shape[1] // int(vector.keys.integers.shape[1])


@step("groups of the values tiled")
def values_tiled(vector: Vector) -> Call:
    """Keys are shared side by side and values in turn."""
    call, times = vector.call, shared(vector)
    return replace(
        call,
        keys=np.repeat(call.keys, times, axis=1),
        values=np.tile(call.values, (1, times, 1, 1)),
    )


@step("queries of a group summed")
def queries_summed(vector: Vector) -> Call | None:
    """The heads of a group have one pattern of weights."""
    call, times = vector.call, shared(vector)
    batch, heads, tokens, width = call.queries.shape
    if times == 1:
        return None
    grouped = call.queries.reshape(batch, heads // times, times, tokens, width).sum(axis=2)
    return replace(call, queries=np.repeat(grouped, times, axis=1))


@step("head divided by the number of groups")
def by_the_number(vector: Vector) -> Call | None:
    """`h // G` for `h // (H / G)`."""
    call, heads = vector.call, vector.shape[1]
    groups = call.keys.shape[1]
    if shared(vector) == 1:
        return None
    read = np.minimum(np.arange(heads) // groups, groups - 1)
    return replace(call, keys=call.keys[:, read], values=call.values[:, read])
