"""Who sees whom, as an array; conditions are joined by `&`. And a bias that grows with distance.

Query i stands at position i + offset among the keys. Aligned top left, the offset is zero: the first
query stands at the first key. Aligned bottom right, it is S - T: the last query stands at the last
key. `past` keys stand before the first query besides, as with a cache.

Legend: H heads, T queries, S keys.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from properties.basics.dtypes import Array
from properties.truth.request import Seen

Integers = NDArray[np.integer]
Align = Literal["top left", "bottom right"]


def everything(queries: int, keys: int) -> Seen:
    """Nothing hidden, (T, S)."""
    return np.ones((queries, keys), dtype=np.bool_)


def causal(queries: int, keys: int, align: Align = "top left", past: int = 0) -> Seen:
    """No key after the query's own position, (T, S)."""
    return ahead(queries, keys, align, past) <= 0


def window(
    queries: int, keys: int, left: int, right: int, align: Align = "top left", past: int = 0
) -> Seen:
    """At most `left` keys before the query's own position and `right` after it, (T, S).

    The key at the position itself is seen and not counted; -1 leaves a side without a limit.
    Raises ValueError below -1.
    """
    for side, number in (("left", left), ("right", right)):
        if number < -1:
            raise ValueError(f"{side} is {number}, expected 0 or more, or -1 for no limit")
    distance = ahead(queries, keys, align, past)
    within = everything(queries, keys)
    if left >= 0:
        within &= distance >= -left
    if right >= 0:
        within &= distance <= right
    return within


def documents(ids_q: Integers, ids_k: Integers) -> Seen:
    """Only keys of the query's own document, by the documents' numbers: (T,), (S,) -> (T, S).

    Leading axes stay: (B, T), (B, S) -> (B, T, S).
    """
    same: Seen = np.asarray(ids_q)[..., :, None] == np.asarray(ids_k)[..., None, :]
    return same


def ahead(queries: int, keys: int, align: Align = "top left", past: int = 0) -> Integers:
    """How many positions key j stands after query i, (T, S); below zero: before it.

    Raises ValueError for an unknown alignment.
    """
    if align not in ("top left", "bottom right"):
        raise ValueError(f"align is {align!r}, expected 'top left' or 'bottom right'")
    offset = past + (keys - queries if align == "bottom right" else 0)
    return np.arange(keys)[None, :] - (np.arange(queries)[:, None] + offset)


def alibi(slopes: Array, queries: int, keys: int, align: Align = "bottom right") -> Array:
    """The bias -slope * distance, (H,) -> (H, T, S) (Press, Smith and Lewis, 2022); leading axes stay."""
    distance = np.abs(ahead(queries, keys, align))
    bias: Array = -np.asarray(slopes, dtype=np.float64)[..., None, None] * distance
    return bias


def slopes(heads: int) -> Array:
    """The published slopes of ALiBi, (H,).

    2**(-8 h / H) for h = 1 to H where H is a power of two. Else those of the power of two P below H,
    then every other one of 2 P, from the first on (`get_slopes` of ofirpress/attention_with_linear_biases).
    """
    below = 1 << (heads.bit_length() - 1)
    first = geometric(below)
    return first if below == heads else np.append(first, geometric(2 * below)[::2][: heads - below])


def geometric(heads: int) -> Array:
    """2**(-8 h / H) for h = 1 to H."""
    return np.exp2(-8.0 * np.arange(1, heads + 1) / heads)
