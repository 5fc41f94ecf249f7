"""Dropout in the wrong place or with the wrong factor; which weights are dropped is given.

Legend: B batch, H heads, T queries, S keys.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from properties.basics.dtypes import Array
from properties.vectors.call import Call, Parts, mixed
from properties.vectors.vector import Vector
from properties.vectors.wrong import step


def survivors(called: str, factor: Callable[[float], float]) -> None:
    """Enter another factor of what is left."""

    @step(called)
    def multiplied(vector: Vector) -> Parts | None:
        call = vector.call
        if call.kept is None:
            return None
        attended = call.attended
        return mixed(call, attended.weights * call.kept * factor(call.dropout), attended)


survivors("survivors not scaled", lambda p: 1.0)
survivors("survivors multiplied by 1 - p", lambda p: 1.0 - p)
survivors("survivors divided by p", lambda p: 1.0 / p)
survivors("dropout applied twice", lambda p: (1.0 - p) ** -2)


@step("dropout ignored")
def ignored(vector: Vector) -> Call | None:
    """Nothing is dropped."""
    return None if vector.call.kept is None else replace(vector.call, kept=None)


@step("dropout turned over")
def turned_over(vector: Vector) -> Call | None:
    """What should stay is dropped."""
    kept = vector.call.kept
    return None if kept is None else replace(vector.call, kept=~kept)


@step("dropout on the scores")
def on_the_scores(vector: Vector) -> Parts | None:
    """A dropped score is zero, and takes part."""
    call = vector.call
    if call.kept is None:
        return None
    attended = call.attended
    logits = np.where(attended.seen, attended.logits * np.asarray(call.multiplied), -np.inf)
    return mixed(call, softmax(logits), attended)


@step("dropped weights shared out")
def shared_out(vector: Vector) -> Parts | None:
    """Dropped before the softmax: rows sum to one again."""
    call = vector.call
    if call.kept is None:
        return None
    attended = call.attended
    logits = np.where(attended.seen & call.kept, attended.logits, -np.inf)
    return mixed(call, softmax(logits), attended)


def softmax(logits: Array) -> Array:
    """Over the keys; zeros where there is none."""
    top = logits.max(axis=-1, keepdims=True)
    numbers = np.exp(logits - np.where(np.isneginf(top), 0.0, top))
    shares: Array = numbers / np.maximum(numbers.sum(axis=-1, keepdims=True), 1e-300)
    return shares


def one_draw(who: str, axis: int) -> None:
    """Enter a draw that serves all."""

    @step(f"one draw of dropout for all {who}")
    def for_all(vector: Vector) -> Call | None:
        kept = vector.call.kept
        if kept is None:
            return None
        return replace(vector.call, kept=np.broadcast_to(np.take(kept, [0], axis), kept.shape))


one_draw("items", 0)
one_draw("heads", 1)
one_draw("queries", 2)
