"""What becomes of the future where the causal flag is all that hides it.

Legend: B batch, H heads, T queries, S keys.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from properties.truth import visibility
from properties.vectors.call import Call, Parts
from properties.vectors.vector import Vector
from properties.vectors.wrong import Gives
from properties.vectors.wrong.bare import bare, of_logits, of_weights

OfFuture = Callable[[Vector, Call], "Call | Parts"]
"""Of a vector, and of its call with the future in sight."""
SMALLEST = 2.0**-150


def future(called: str) -> Callable[[OfFuture], OfFuture]:
    """Enter a wrong step of causal calls."""

    def enter(gives: OfFuture) -> OfFuture:
        def of_causal(vector: Vector) -> Call | Parts | None:
            if not vector.options.causal:
                return None
            everything = np.ones(vector.shape, dtype=np.bool_)
            request = replace(vector.call.request, visible=everything)
            return gives(vector, replace(vector.call, request=request))

        of_causal.__doc__ = gives.__doc__
        own: Gives = of_causal
        bare(called)(own)
        return gives

    return enter


@future("mask after the softmax")
def after_the_softmax(vector: Vector, call: Call) -> Parts:
    """Weights of all keys, of which those that are hidden become zero: rows do not sum to one."""
    return of_weights(call, call.attended.weights * vector.visible)


@future("mask after the softmax, rows divided again")
def divided_again(vector: Vector, call: Call) -> Parts:
    """Right until one hidden score is far above: then nothing is divided by nothing."""
    weights = call.attended.weights * vector.visible
    weights[weights < SMALLEST] = 0.0
    return of_weights(call, weights / weights.sum(axis=-1, keepdims=True))


@future("mask after the softmax, rows divided again")
def divided_with_a_guard(vector: Vector, call: Call) -> Parts:
    """The same, with a small number below."""
    weights = call.attended.weights * vector.visible
    return of_weights(call, weights / (weights.sum(axis=-1, keepdims=True) + 1e-6))


@future("a hidden score is zero")
def zero(vector: Vector, call: Call) -> Parts:
    """Multiplied by the mask, or filled with next to nothing."""
    return of_logits(call, call.attended.logits * vector.visible)


def added(called: str, words: str, number: float) -> None:
    """Enter a number that is added to hidden scores."""

    def with_number(vector: Vector, call: Call) -> Parts:
        return of_logits(call, call.attended.logits + np.where(vector.visible, 0.0, number))

    with_number.__doc__ = words
    future(called)(with_number)


added("causal mask added as ones", "A mask of 0 and 1 is subtracted as if it were a bias.", -1.0)
for _number in (-1e2, -1e4):
    added(
        "causal mask added as a number",
        "The future leaks where its scores are far above, as no finite number hides what it is added to.",
        _number,
    )


def turned_over(diagonal: int) -> None:
    """Enter a triangle on the wrong side."""

    @future("causal shows the future alone")
    def other_side(vector: Vector, call: Call) -> Call:
        """The triangle was turned over: the past is hidden."""
        ahead = visibility.ahead(*vector.shape[2:], vector.corner)
        seen = np.broadcast_to(ahead >= diagonal, vector.shape)
        return replace(call, request=replace(call.request, visible=seen))


turned_over(0)
turned_over(1)
