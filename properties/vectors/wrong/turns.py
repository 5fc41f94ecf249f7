"""Wrong rotary positions.

Legend: B batch, H heads, T queries, S keys, D head_dim, R the columns that are turned.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from properties.basics.dtypes import Array
from properties.truth.positions import Rotary, angles, pairs
from properties.vectors.call import Call
from properties.vectors.vector import Vector
from properties.vectors.wrong import step

Turned = tuple[Array, Array]


def turn(called: str) -> Callable[[Callable[[Call, Rotary], Turned | None]], None]:
    """Enter a wrong turn of queries and keys."""

    def enter(turned: Callable[[Call, Rotary], Turned | None]) -> None:
        @step(called)
        def wrongly(vector: Vector) -> Call | None:
            call = vector.call
            found = None if call.rotary is None else turned(call, call.rotary)
            if found is None:
                return None
            return replace(call, queries=found[0], keys=found[1], rotary=None)

    return enter


def placed(called: str) -> Callable[[Callable[[Rotary], Rotary]], None]:
    """Enter a turn of both at other positions, or with another rule."""

    def enter(other: Callable[[Rotary], Rotary]) -> None:
        @turn(called)
        def at_others(call: Call, rotary: Rotary) -> Turned:
            return replace(call, rotary=other(rotary)).turned

    return enter


placed("positions ignored")(lambda r: replace(r, queries=0 * r.queries, keys=0 * r.keys))
placed("keys not rotated")(lambda r: replace(r, keys=0 * r.keys))
placed("queries not rotated")(lambda r: replace(r, queries=0 * r.queries))
placed("positions of queries from one")(lambda r: replace(r, queries=r.queries + 1.0))
placed("queries rotated the other way")(lambda r: replace(r, queries=-r.queries))
placed("the other pairs of columns")(
    lambda r: replace(r, pairing="neighbours" if r.pairing == "halves" else "halves")
)
placed("angles of the first token for all")(
    lambda r: replace(
        r, queries=np.full_like(r.queries, r.queries[0]), keys=np.full_like(r.keys, r.keys[0])
    )
)
placed("another base")(lambda r: replace(r, base=10.0 * r.base))
placed("start of queries alone")(lambda r: replace(r, keys=r.keys - r.keys[0]))
placed("positions start again")(
    lambda r: replace(r, queries=r.queries % half(r), keys=r.keys % half(r))
)


def half(rotary: Rotary) -> int:
    """Half of the positions that there are."""
    return max(int(rotary.keys.max() + 1) // 2, 1)


def of_keys(called: str) -> Callable[[Callable[[Rotary], Rotary]], None]:
    """Enter a turn of keys that differs from that of queries."""

    def enter(other: Callable[[Rotary], Rotary]) -> None:
        @turn(called)
        def keys_alone(call: Call, rotary: Rotary) -> Turned:
            return call.turned[0], replace(call, rotary=other(rotary)).turned[1]

    return enter


of_keys("pairs of queries and keys differ")(
    lambda r: replace(r, pairing="neighbours" if r.pairing == "halves" else "halves")
)
of_keys("base of keys differs")(lambda r: replace(r, base=10.0 * r.base))


@turn("positions along the heads")
def along_heads(call: Call, rotary: Rotary) -> Turned:
    """The index of a head is its position."""
    by_head = (np.arange(part.shape[1], dtype=np.float64) for part in (call.queries, call.keys))
    queries, keys = (
        rotary.turn(part.swapaxes(1, 2), places).swapaxes(1, 2)
        for part, places in zip((call.queries, call.keys), by_head, strict=True)
    )
    return queries, keys


@turn("positions along the batch")
def along_batch(call: Call, rotary: Rotary) -> Turned:
    """The index of an item is its position."""
    items = np.arange(len(call.queries), dtype=np.float64)[:, None]
    queries, keys = (
        rotary.turn(part, np.broadcast_to(items, (len(part), part.shape[2])))
        for part in (call.queries, call.keys)
    )
    return queries, keys


@turn("first item alone rotated")
def first_item(call: Call, rotary: Rotary) -> Turned:
    """Right for a batch of one."""
    queries, keys = (np.array(part) for part in (call.queries, call.keys))
    queries[:1], keys[:1] = (part[:1] for part in call.turned)
    return queries, keys


def by_angles(
    part: Array, rotary: Rotary, places: Array, change: Callable[[Array], tuple[Array, ...]]
) -> Array:
    """Turned by two cosines and two sines of each pair: those of its first and of its second column."""
    first, second = pairs(part.shape[-1], rotary.pairing, rotary.portion)
    one, other, sign = change(angles(places, len(first), rotary.base))
    turned = np.array(part)
    a, b = part[..., first], part[..., second]
    turned[..., first] = a * np.cos(one) - b * np.sin(one)
    turned[..., second] = b * np.cos(other) + sign * a * np.sin(other)
    return turned


def both(called: str, change: Callable[[Array], tuple[Array, ...]], *, keys: bool = True) -> None:
    """Enter a turn by wrong angles, of queries and keys, or of queries alone."""

    @turn(called)
    def turned(call: Call, rotary: Rotary) -> Turned:
        right = call.turned
        queries = by_angles(call.queries, rotary, rotary.queries, change)
        return queries, by_angles(call.keys, rotary, rotary.keys, change) if keys else right[1]


both("a reflection for a rotation", lambda angle: (angle, angle, np.array(-1.0)))
both(
    "cosine and sine exchanged in queries",
    lambda angle: (np.pi / 2 - angle, np.pi / 2 - angle, np.array(1.0)),
    keys=False,
)


def of_neighbours(angle: Array) -> tuple[Array, ...]:
    """Angles repeated one by one, and read by halves."""
    doubled = np.repeat(angle, 2, axis=-1)
    number = angle.shape[-1]
    return doubled[..., :number], doubled[..., number:], np.array(1.0)


@turn("angles of neighbours on halves")
def neighbours_on_halves(call: Call, rotary: Rotary) -> Turned | None:
    """The columns of a pair turn by two angles."""
    if rotary.pairing != "halves":
        return None
    return (
        by_angles(call.queries, rotary, rotary.queries, of_neighbours),
        by_angles(call.keys, rotary, rotary.keys, of_neighbours),
    )


@step("values rotated")
def values(vector: Vector) -> Call | None:
    """What is read depends on where it stood."""
    call = vector.call
    if call.rotary is None or call.values.shape[-1] < 2:
        return None
    even = call.values.shape[-1] // 2 * 2
    turned = np.array(call.values)
    whole = replace(call.rotary, portion=1.0)
    turned[..., :even] = whole.turn(call.values[..., :even], call.rotary.keys)
    return replace(call, values=turned)


@turn("all columns rotated")
def all_columns(call: Call, rotary: Rotary) -> Turned | None:
    """Where a part of a head is to be turned."""
    if rotary.portion == 1.0 or call.queries.shape[-1] % 2:
        return None
    return replace(call, rotary=replace(rotary, portion=1.0)).turned
