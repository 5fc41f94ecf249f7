"""What a cache makes of the keys and values that were there before.

Legend: B batch, H heads of queries, G heads of keys and values, T queries, S keys, P of them from the past.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from properties.vectors.call import Call
from properties.vectors.vector import Vector
from properties.vectors.wrong import step

OfCache = Callable[[Vector, Call, int], "Call | None"]


def cached(called: str) -> Callable[[OfCache], None]:
    """Enter a fault of a call that has a past."""

    def enter(gives: OfCache) -> None:
        @step(called)
        def of_cache(vector: Vector) -> Call | None:
            past = vector.options.past
            return None if past is None else gives(vector, vector.call, past)

    return enter


@cached("no mask beside a cache")
def no_mask(vector: Vector, call: Call, past: int) -> Call:
    """Each token of a chunk sees those after it."""
    return vector.told(causal=None).call


@cached("the present before the past")
def present_first(vector: Vector, call: Call, past: int) -> Call:
    """Joined the other way round; the mask stays."""
    order = np.roll(np.arange(call.shape[3]), -past)
    rotary = call.rotary and replace(call.rotary, keys=np.asarray(call.rotary.keys)[order])
    keys, values = call.keys[:, :, order], call.values[:, :, order]
    return replace(call, keys=keys, values=values, rotary=rotary)


@cached("a token does not see itself beside a cache")
def own_key(vector: Vector, call: Call, past: int) -> Call:
    """A decoded token reads the past alone."""
    _, _, queries, keys = call.shape
    own = np.arange(queries)[:, None] + past != np.arange(keys)[None, :]
    return call.seeing(own)


@cached("items share the cache")
def shared(vector: Vector, call: Call, past: int) -> Call:
    """All items have the first one's past."""
    keys, values = np.array(call.keys), np.array(call.values)
    keys[:, :, :past], values[:, :, :past] = keys[:1, :, :past], values[:1, :, :past]
    return replace(call, keys=keys, values=values)


@cached("past forgotten")
def forgotten(vector: Vector, call: Call, past: int) -> Call:
    """The present alone."""
    return call.seeing(np.arange(call.shape[3]) >= past)


@cached("values of another token")
def values_lag(vector: Vector, call: Call, past: int) -> Call:
    """Rolled by one against their keys."""
    return replace(call, values=np.roll(call.values, 1, axis=2))


@cached("cache written from its start")
def from_its_start(vector: Vector, call: Call, past: int) -> Call:
    """The present takes the place of the first tokens, and its own slots hold zeros."""
    keys, values = (np.array(part) for part in (call.turned[1], call.values))
    for part in (keys, values):
        new = part[:, :, past:].copy()
        part[:, :, past:] = 0.0
        part[:, :, : new.shape[2]] = new
    return replace(call, queries=call.turned[0], keys=keys, values=values, rotary=None)


@cached("hole in the cache")
def hole(vector: Vector, call: Call, past: int) -> Call:
    """One slot of zeros after the past, and the last token falls out."""
    keys, values = (np.array(part) for part in (call.turned[1], call.values))
    for part in (keys, values):
        part[:, :, past + 1 :] = part[:, :, past:-1].copy()
        part[:, :, past] = 0.0
    return replace(call, queries=call.turned[0], keys=keys, values=values, rotary=None)


@cached("cache read beyond its length")
def beyond(vector: Vector, call: Call, past: int) -> Call:
    """Three empty slots behind the present are seen."""
    rim = ((0, 0), (0, 0), (0, 3), (0, 0))
    queries, keys = call.turned
    visible = np.pad(vector.visible, (*rim[:3], (0, 3)), constant_values=True)[
        :, :, : call.shape[2]
    ]
    request = replace(call.request, visible=visible)
    return Call(queries, np.pad(keys, rim), np.pad(call.values, rim), request)


@cached("cached keys rotated again")
def again(vector: Vector, call: Call, past: int) -> Call | None:
    """Positions are applied to the whole cache."""
    if call.rotary is None:
        return None
    queries, keys = call.turned
    twice = call.rotary.turn(keys[:, :, :past], np.asarray(call.rotary.keys)[:past])
    keys = np.concatenate([twice, keys[:, :, past:]], axis=2)
    return replace(call, queries=queries, keys=keys, rotary=None)


def moved(called: str, by: Callable[[int], int]) -> None:
    """Enter positions of the present that are off."""

    @cached(called)
    def off(vector: Vector, call: Call, past: int) -> Call | None:
        if call.rotary is None:
            return None
        keys = np.array(call.rotary.keys)
        keys[past:] += by(past)
        rotary = replace(call.rotary, queries=call.rotary.queries + by(past), keys=keys)
        return replace(call, rotary=rotary)


moved("positions not advanced", lambda past: -past)
moved("positions advance too fast", lambda past: past)
