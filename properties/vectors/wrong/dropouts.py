"""Dropout in the wrong place or with the wrong factor; which weights are dropped is given.

Legend: B batch, H heads, T queries, S keys.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from properties.truth.attend import softmax
from properties.truth.request import Seen
from properties.vectors.call import Call, Parts, mixed
from properties.vectors.vector import Vector
from properties.vectors.wrong import step

OfDropout = Callable[[Call, Seen], Call | Parts]


def dropped(called: str) -> Callable[[OfDropout], None]:
    """Enter a fault of a call in which weights are dropped."""

    def enter(gives: OfDropout) -> None:
        def of_dropout(vector: Vector) -> Call | Parts | None:
            kept = vector.call.kept
            return None if kept is None else gives(vector.call, kept)

        of_dropout.__doc__ = gives.__doc__
        step(called)(of_dropout)

    return enter


def survivors(called: str, factor: Callable[[float], float]) -> None:
    """Enter another factor of what is left."""

    @dropped(called)
    def multiplied(call: Call, kept: Seen) -> Parts:
        attended = call.attended
        return mixed(call, attended.weights * kept * factor(call.dropout), attended)


survivors("survivors not scaled", lambda p: 1.0)
survivors("survivors multiplied by 1 - p", lambda p: 1.0 - p)
survivors("survivors divided by p", lambda p: 1.0 / p)
survivors("dropout applied twice", lambda p: (1.0 - p) ** -2)


@dropped("dropout ignored")
def ignored(call: Call, kept: Seen) -> Call:
    """Nothing is dropped."""
    return replace(call, kept=None)


@dropped("dropout turned over")
def turned_over(call: Call, kept: Seen) -> Call:
    """What should stay is dropped."""
    return replace(call, kept=~kept)


@dropped("dropout on the scores")
def on_the_scores(call: Call, kept: Seen) -> Parts:
    """A dropped score is zero, and takes part."""
    attended = call.attended
    logits = attended.logits * np.asarray(call.multiplied)
    return mixed(call, softmax(logits, attended.seen, None)[0], attended)


@dropped("dropped weights shared out")
def shared_out(call: Call, kept: Seen) -> Parts:
    """Dropped before the softmax: rows sum to one again."""
    attended = call.attended
    return mixed(call, softmax(attended.logits, attended.seen & kept, None)[0], attended)


def one_draw(who: str, axis: int) -> None:
    """Enter a draw that serves all."""

    @dropped(f"one draw of dropout for all {who}")
    def for_all(call: Call, kept: Seen) -> Call:
        return replace(call, kept=np.broadcast_to(np.take(kept, [0], axis), kept.shape))


one_draw("items", 0)
one_draw("heads", 1)
one_draw("queries", 2)
