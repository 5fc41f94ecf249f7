"""Steps with a number of their own, before the softmax: caps, clips and penalties that nobody asked for.

Legend: B batch, H heads, T queries, S keys, D head_dim, E columns of a value.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from properties.basics.dtypes import Array
from properties.vectors.call import Call, Parts
from properties.vectors.vector import Vector
from properties.vectors.wrong.bare import as_many_keys, bare, of_logits, telling
from properties.vectors.wrong.formulas import scaled


@bare("scores capped at 20")
def capped(vector: Vector) -> Call:
    """The tanh of another model's configuration was left on: 20 tanh(z / 20)."""
    call = vector.call
    return replace(call, request=replace(call.request, cap=20.0))


@bare("scores clamped at 50")
def clamped(vector: Vector) -> Parts:
    """No exponential overflows, and sharp attention becomes blunt."""
    return of_logits(vector.call, vector.call.attended.logits.clip(-50.0, 50.0))


@bare("temperature of 0.9 left on")
def tempered(vector: Vector) -> Call:
    """Scores are divided by a temperature that is for sampling."""
    call = vector.call
    return telling(call, call.request.factor(call.queries.shape[-1]) / 0.9)


scaled(
    "scale of the next whole root",
    "The root of D is rounded up, as a format of few digits or an integer has it.",
    lambda width: 1.0 / round(width**0.5 + 0.5),
)


@bare("scale off by a millionth")
def inexact(vector: Vector) -> Call:
    """A rounded constant, seen in double precision alone."""
    call = vector.call
    return telling(call, call.request.factor(call.queries.shape[-1]) * (1.0 + 1e-6))


def penalised(called: str, slopes: Callable[[int], Array], words: str) -> None:
    """Enter a penalty by distance; slopes: of so many heads, (H,)."""

    def of_distance(vector: Vector) -> Parts | None:
        if not as_many_keys(vector):
            return None
        places = np.arange(vector.shape[3])
        distance = np.abs(places[:, None] - places)
        slope = slopes(vector.shape[1])[:, None, None]
        return of_logits(vector.call, vector.call.attended.logits - slope * distance)

    of_distance.__doc__ = words
    bare(called)(of_distance)


penalised(
    "distance penalty of 0.25 left on",
    lambda heads: np.full(heads, 0.25),
    "Nearer tokens get more, whatever queries and keys say.",
)
penalised(
    "distance penalties of 0.25 times the head left on",
    lambda heads: np.arange(1, heads + 1) / 4.0,
    "Nearer tokens get more, and the order of the heads matters.",
)


@bare("queries and keys clipped at 4")
def clipped(vector: Vector) -> Call:
    """A clip of another model's configuration was left on."""
    call = vector.call
    return replace(call, queries=call.queries.clip(-4.0, 4.0), keys=call.keys.clip(-4.0, 4.0))


@bare("keys through tanh")
def saturated(vector: Vector) -> Call:
    """No column of a key goes beyond one."""
    return replace(vector.call, keys=np.tanh(vector.call.keys))


@bare("keys and a thousandth of their squares")
def squared(vector: Vector) -> Call:
    """1e-3 is added where nothing is divided."""
    keys = vector.call.keys
    return replace(vector.call, keys=keys + 1e-3 * np.square(keys))


@bare("an eighth of the keys of the item before")
def uncleared(vector: Vector) -> Call:
    """A buffer of keys is not cleared between the items."""
    keys = vector.call.keys
    before = np.concatenate([np.zeros_like(keys[:1]), keys[:-1]])
    return replace(vector.call, keys=keys + 0.125 * before)


@bare("values clipped at 2")
def values_clipped(vector: Vector) -> Call:
    """Outliers are cut."""
    return replace(vector.call, values=vector.call.values.clip(-2.0, 2.0))


@bare("values rounded to even numbers")
def values_rounded(vector: Vector) -> Call:
    """Small values vanish, as on a grid that is too coarse."""
    return replace(vector.call, values=np.round(vector.call.values / 2.0) * 2.0)
