"""Wrong groups, keys that are none, inputs that are written to."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from properties.basics.dtypes import Array
from properties.cases.question import Question, Truth
from properties.findings.names.calls.catalogue import asks, form
from properties.findings.names.calls.form import RefusedError

GROUPS = "how keys and values are repeated for the heads of a group"
TILES = (4, 8, 16)


def shared(asked: Question) -> int:
    """How many query heads read one head of keys."""
    if not asked.function:
        raise RefusedError("tokens are asked about")
    return int(asked.inputs["queries"].shape[1] // asked.inputs["keys"].shape[1])


@asks("groups tiled", GROUPS)
def tiled(asked: Question) -> Question:
    """Head h reads group h % G."""
    return asked.with_inputs(
        {n: np.tile(a, (1, shared(asked), 1, 1)) if n != "queries" else a for n, a in parts(asked)}
    )


@asks("groups repeated along time", GROUPS)
def along_time(asked: Question) -> Question:
    """The axis of tokens is stretched and cut into heads."""
    n = shared(asked)
    return asked.with_inputs(
        {name: stretched(a, n) if name != "queries" else a for name, a in parts(asked)}
    )


def stretched(part: Array, times: int) -> Array:
    """(B, G, S, D) -> (B, G * times, S, D), each token several times."""
    batch, groups, keys, width = part.shape
    return np.repeat(part, times, axis=2).reshape(batch, groups * times, keys, width)


@asks("first group for all heads", GROUPS)
def first_group(asked: Question) -> Question:
    """The other heads of keys and values are never read."""
    return asked.with_inputs({n: a[:, :1] if n != "queries" else a for n, a in parts(asked)})


@asks("first group for all heads", GROUPS)
def first_group_of_several(asked: Question) -> Question:
    """Where heads share, and else each reads its own."""
    return first_group(asked) if shared(asked) > 1 else asked


def parts(asked: Question) -> list[tuple[str, Array]]:
    """Queries, keys and values."""
    if not asked.function:
        raise RefusedError("tokens are asked about")
    return list(asked.inputs.items())


def padded(tile: int) -> None:
    """Enter keys of zeros that fill the last tile and take part."""

    def with_zeros(asked: Question) -> Question:
        missing = -asked.shape[3] % tile
        rim = ((0, 0), (0, 0), (0, missing), (0, 0))
        inputs = {n: np.pad(a, rim) if n != "queries" else a for n, a in parts(asked)}
        seen = np.broadcast_to(asked.request.visible, asked.shape)
        seen = np.pad(seen, (*rim[:2], (0, 0), (0, missing)), constant_values=True)
        bias = asked.request.bias
        if bias is not None:
            bias = np.pad(np.broadcast_to(bias, asked.shape), (*rim[:2], (0, 0), (0, missing)))
        told = asked.changed(
            mask=seen, bias=bias, causal=False, window=None, slopes=None, padding=None
        )
        return told.with_inputs(inputs)

    def without_zeros(asked: Question, truth: Truth) -> Truth:
        """Their weights are not returned, and the logarithm is that of the shown keys."""
        keys, right = asked.shape[3], asked.truth
        return replace(
            truth,
            weights=truth.weights[..., :keys],
            allowed_weights=truth.allowed_weights[..., :keys],
            allowed_averaged=truth.allowed_averaged[..., :keys],
            lse=right.lse,
            allowed_lse=right.allowed_lse,
        )

    form("padding keys take part", "keys that fill up a tile", asks=with_zeros, gives=without_zeros)


for _tile in TILES:
    padded(_tile)

form("query written to", "an operation in place on the queries", writes=("queries",))
form("key written to", "an operation in place on the keys", writes=("keys",))
form("value written to", "an operation in place on the values", writes=("values",))
