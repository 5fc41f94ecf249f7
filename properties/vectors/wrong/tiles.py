"""Long rows, tile by tile: keys that are left out, read for others, or summed up wrongly.

Legend: B batch, H heads of queries, G heads of keys and values, T queries, S keys.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from properties.basics.dtypes import Array
from properties.vectors.call import Call, Parts, mixed
from properties.vectors.vector import Vector
from properties.vectors.wrong import step
from properties.vectors.wrong.bare import of_weights

TILE = 64
SHORT = 32  # keys of a tile whose sums are joined
SMALLEST = 2.0**-150
LONG = 4096  # keys, from which another kernel is taken


def is_long(vector: Vector) -> bool:
    """Whether there is more than a tile of keys."""
    return vector.shape[3] > TILE


@step("a whole tile forgotten")
def whole_tile(vector: Vector) -> Call | None:
    """Where two parts of a row meet, a tile belongs to neither."""
    keys = vector.shape[3]
    end = LONG if keys > LONG else 512
    places = np.arange(keys)
    return vector.call.seeing((places < end - TILE) | (places >= end)) if keys > end else None


def within(vector: Vector) -> int:
    """A key that begins and ends no tile."""
    return LONG + 904 if vector.shape[3] > LONG else 200


@step("one key within a tile forgotten")
def one_key(vector: Vector) -> Call | None:
    """A lane is left out."""
    if not is_long(vector) or within(vector) >= vector.shape[3]:
        return None
    return vector.call.seeing(np.arange(vector.shape[3]) != within(vector))


@step("values of two neighbours exchanged")
def neighbours(vector: Vector) -> Call | None:
    """Two lanes are exchanged on the way to the second product."""
    keys, place = vector.shape[3], within(vector)
    if not is_long(vector) or place + 1 >= keys:
        return None
    order = np.arange(keys)
    order[[place, place + 1]] = order[[place + 1, place]]
    return replace(vector.call, values=vector.call.values[:, :, order])


@step("keys of the last group beyond a tile")
def last_group(vector: Vector) -> Call | None:
    """In long rows with shared heads the keys of one group are read for all, and not its values."""
    call = vector.call
    if not is_long(vector) or call.keys.shape[1] == 1:
        return None
    keys = np.array(call.keys)
    keys[:, :, TILE:] = keys[:, -1:, TILE:]
    return replace(call, keys=keys)


@step("window ends with its tile")
def window_ends(vector: Vector) -> Call | None:
    """A window of more than 64 keys sees 64."""
    window = vector.options.window
    if window is None or window[0] <= TILE:
        return None
    return vector.told(window=(TILE, window[1])).call


@step("window begins with its tile")
def window_begins(vector: Vector) -> Call | None:
    """Tiles without any key of the window are skipped, and the first of the others is taken whole."""
    window = vector.options.window
    if window is None or window[0] < 0 or not is_long(vector):
        return None
    left = vector.told(window=(-1, window[1])).visible
    _, _, queries, keys = vector.shape
    own = np.arange(queries) + (keys - queries if vector.corner == "bottom right" else 0)
    first = np.maximum(own - window[0], 0) // TILE * TILE
    seen = left & (np.arange(keys) >= first[:, None])
    return replace(vector.call, request=replace(vector.call.request, visible=seen))


@step("mask of the first query of a tile for all")
def first_query(vector: Vector) -> Call | None:
    """From the second tile of queries on, one of them decides for the others."""
    mask, queries = vector.options.mask, vector.shape[2]
    if mask is None or queries <= TILE:
        return None
    places = np.arange(queries)
    first = np.where(places < TILE, places, places // TILE * TILE)
    return vector.told(mask=np.broadcast_to(mask, vector.shape)[:, :, first]).call


@step("all but the last tile forgotten")
def last_tile(vector: Vector) -> Call | None:
    """What was summed before is multiplied by zero where a tile begins."""
    keys = vector.shape[3]
    if not is_long(vector) or vector.options.starts:
        return None
    return vector.call.seeing(np.arange(keys) >= (keys - 1) // SHORT * SHORT)


@step("maximum of zero after a hidden tile")
def stuck(vector: Vector) -> Parts | None:
    """Nothing is divided by nothing where the last tile is hidden and all scores are far below zero."""
    if not is_long(vector) or vector.options.starts:
        return None
    call, attended, keys = vector.call, vector.call.attended, vector.shape[3]
    hidden = ~attended.seen[..., (keys - 1) // SHORT * SHORT :].any(axis=-1, keepdims=True)
    logits = np.where(attended.seen, attended.logits, -np.inf)
    top = logits.max(axis=-1, keepdims=True)
    numbers = np.exp(logits - np.where(hidden, np.maximum(top, 0.0), top))
    numbers[numbers < SMALLEST] = 0.0
    return of_weights(call, numbers / numbers.sum(axis=-1, keepdims=True))


def rescaled(called: str, carry: Callable[[Array], Array], words: str) -> None:
    """Enter another factor of what was summed before a tile, by how far it lies below the new maximum."""

    @step(called)
    def in_tiles(vector: Vector) -> Parts | None:
        if not is_long(vector) or vector.options.starts:
            return None
        call, attended = vector.call, vector.call.attended
        logits = np.where(attended.seen, attended.logits, -np.inf)
        weights = np.zeros_like(logits)
        highest: Array = np.full_like(logits[..., :1], -np.inf)
        for start in range(0, vector.shape[3], SHORT):
            tile = logits[..., start : start + SHORT]
            higher = np.maximum(highest, tile.max(axis=-1, keepdims=True))
            level = np.where(np.isneginf(higher), 0.0, higher)
            weights[..., :start] *= carry(highest - level)
            weights[..., start : start + SHORT] = np.exp(tile - level)
            highest = higher
        weights = weights / weights.sum(axis=-1, keepdims=True)
        return replace(mixed(call, weights, attended), weights=weights)

    in_tiles.__doc__ = words


rescaled(
    "tiles rescaled in another base",
    lambda fall: np.exp(np.log2(np.e) * fall),
    "What was summed before falls too fast when a larger score comes: log2(e) once too often.",
)
rescaled(
    "tiles multiplied by log2(e)",
    lambda fall: np.exp(fall) * np.log2(np.e),
    "What was summed before grows with every tile of 32 keys: early tokens get too much.",
)
