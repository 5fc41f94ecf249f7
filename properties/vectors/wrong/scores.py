"""Wrong default scales, and sinks.

Legend: H heads, S keys, D head_dim.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from properties.basics.dtypes import Array
from properties.vectors.call import Call, Parts, mixed
from properties.vectors.vector import Vector
from properties.vectors.wrong import step


def default(called: str, scale: Callable[[Vector], float]) -> None:
    """Enter a wrong default scale."""

    @step(called)
    def scaled(vector: Vector) -> Call | None:
        if vector.options.scale is not None:
            return None
        call = vector.call
        return replace(call, request=replace(call.request, scale=scale(vector)))


def columns(vector: Vector) -> int:
    """D."""
    return int(vector.queries.integers.shape[-1])


default("scale 1/D", lambda vector: 1.0 / columns(vector))
default("scale inverted", lambda vector: columns(vector) ** 0.5)
default("scale 1/sqrt(tokens)", lambda vector: vector.shape[3] ** -0.5)
default("scale 1/sqrt(heads)", lambda vector: vector.shape[1] ** -0.5)
default("scale 1/sqrt(all columns)", lambda vector: (columns(vector) * vector.shape[1]) ** -0.5)
default(
    "scale by the padded head_dim", lambda vector: (columns(vector) + -columns(vector) % 8) ** -0.5
)
default(
    "scale by the width of a group",
    lambda vector: (columns(vector) * vector.shape[1] / vector.keys.integers.shape[1]) ** -0.5,
)


OfSink = Callable[[Call, Array], Array | None]


def sunk(called: str) -> Callable[[OfSink], None]:
    """Enter another sink, or none."""

    def enter(other: OfSink) -> None:
        def of_sink(vector: Vector) -> Call | None:
            call, sink = vector.call, vector.call.request.sink
            if sink is None:
                return None
            return replace(call, request=replace(call.request, sink=other(call, sink)))

        of_sink.__doc__ = other.__doc__
        step(called)(of_sink)

    return enter


@sunk("sink ignored")
def sink_ignored(call: Call, sink: Array) -> None:
    """Weights sum to one."""


@sunk("sink of the first head for all")
def sink_of_the_first(call: Call, sink: Array) -> Array:
    """One number is read."""
    return np.full_like(sink, sink[0])


@sunk("scale multiplies the sink, too")
def sink_scaled(call: Call, sink: Array) -> Array:
    """It joins the scores before they are scaled."""
    return sink * call.request.factor(call.queries.shape[-1])


@step("sink added as it is")
def sink_not_exponentiated(vector: Vector) -> Call | None:
    """Without its exponential, a share of the denominator."""
    call = vector.call
    sink = call.request.sink
    if sink is None or (sink <= 0.0).any():
        return None
    return replace(call, request=replace(call.request, sink=np.log(sink)))


@step("softmax without its maximum")
def without_maximum(vector: Vector) -> Parts:
    """Exponentials of the scores themselves, in a format of eight bits of exponent."""
    call = vector.call
    attended = call.attended
    numbers = np.where(attended.seen, np.exp(attended.logits), 0.0)
    numbers = np.where(numbers > float(np.finfo(np.float32).max), np.inf, numbers)
    numbers = np.where(numbers < 2.0**-150, 0.0, numbers)
    weights = numbers / numbers.sum(axis=-1, keepdims=True)
    found = mixed(call, weights, attended)
    nothing = np.zeros_like(found.nothing)
    return replace(found, weights=weights, nothing=nothing)


def tiled(size: int, *, raised: bool) -> None:
    """Enter tiles of so many keys, each with a maximum of its own, or the one that was reached by then."""

    @step("tiles not rescaled")
    def tiles_not_rescaled(vector: Vector) -> Parts | None:
        call, keys = vector.call, vector.shape[3]
        if vector.options.starts or keys <= size:
            return None
        attended, starts = call.attended, np.arange(keys) // size * size
        logits = np.where(attended.seen, attended.logits, -np.inf)
        level = np.maximum.reduceat(logits, np.unique(starts), axis=-1)
        level = np.maximum.accumulate(level, axis=-1) if raised else level
        level = level[..., starts // size]
        numbers = np.exp(logits - np.where(np.isneginf(level), 0.0, level))
        weights = numbers / np.maximum(numbers.sum(axis=-1, keepdims=True), 1e-300)
        return replace(mixed(call, weights, attended), weights=weights)


for _size in (4, 16, 64):
    tiled(_size, raised=False)
    tiled(_size, raised=True)
