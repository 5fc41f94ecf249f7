"""Rotary positions that some heads, items or columns have alone, and angles of too few digits.

Legend: B batch, H heads, T queries, S keys, E columns of a value.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from properties.basics.dtypes import FORMATS, Array
from properties.truth.positions import Rotary, angles, pairs
from properties.vectors.call import Call, Parts
from properties.vectors.vector import Vector
from properties.vectors.wrong import step
from properties.vectors.wrong.turns import Turned, placed, turn

placed("start of keys alone")(lambda r: replace(r, queries=r.queries - r.queries[0]))


@turn("first head alone rotated")
def first_head(call: Call, rotary: Rotary) -> Turned | None:
    """Right with one head."""
    if call.queries.shape[1] == 1:
        return None
    queries, keys = (np.array(part) for part in (call.queries, call.keys))
    queries[:, :1], keys[:, :1] = (part[:, :1] for part in call.turned)
    return queries, keys


@turn("last item not rotated")
def last_item(call: Call, rotary: Rotary) -> Turned | None:
    """Of several."""
    if len(call.queries) == 1:
        return None
    queries, keys = (np.array(part) for part in call.turned)
    queries[-1], keys[-1] = call.queries[-1], call.keys[-1]
    return queries, keys


@turn("positions multiplied by the number of the head")
def by_head(call: Call, rotary: Rotary) -> Turned:
    """Each head turns as many times faster."""

    def of(part: Array, places: Array) -> Array:
        turned = [rotary.turn(part[:, h : h + 1], places * (h + 1)) for h in range(part.shape[1])]
        return np.concatenate(turned, axis=1)

    return of(call.queries, rotary.queries), of(call.keys, rotary.keys)


@turn("columns that stay rotated back")
def rest_back(call: Call, rotary: Rotary) -> Turned | None:
    """Where a part of a head is to be turned, the other part turns the other way."""
    width = call.queries.shape[-1]
    number = round(width * rotary.portion)
    if number == width or (width - number) % 2:
        return None

    def of(part: Array, places: Array) -> Array:
        turned = np.array(rotary.turn(part, places))
        rest = replace(rotary, portion=1.0).turn(part[..., number:], -np.asarray(places))
        turned[..., number:] = rest
        return turned

    return of(call.queries, rotary.queries), of(call.keys, rotary.keys)


@turn("angles in float16")
def in_float16(call: Call, rotary: Rotary) -> Turned:
    """Eleven bits: far tokens are not told apart."""

    def of(part: Array, places: Array) -> Array:
        first, second = pairs(part.shape[-1], rotary.pairing, rotary.portion)
        angle = FORMATS["float16"].round(angles(places, len(first), rotary.base))
        turned = np.array(part)
        a, b = part[..., first], part[..., second]
        turned[..., first] = a * np.cos(angle) - b * np.sin(angle)
        turned[..., second] = a * np.sin(angle) + b * np.cos(angle)
        return turned

    return of(call.queries, rotary.queries), of(call.keys, rotary.keys)


@step("context rotated")
def context(vector: Vector) -> Parts | None:
    """The output of a head is turned by the position of its query."""
    call = vector.call
    if call.rotary is None or call.values.shape[-1] < 2:
        return None
    parts = call.parts
    even = call.values.shape[-1] // 2 * 2
    output = np.array(parts.output)
    whole = replace(call.rotary, portion=1.0)
    output[..., :even] = whole.turn(parts.output[..., :even], call.rotary.queries)
    return replace(parts, output=output)
