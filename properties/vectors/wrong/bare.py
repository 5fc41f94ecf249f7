"""Steps of calls that are told nothing but the causal flag, with as many heads of keys as of queries.

What goes wrong without any option is shown by these, and not once more beside each option.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from properties.basics.dtypes import Array
from properties.truth.attend import softmax
from properties.vectors.call import Call, Parts, mixed
from properties.vectors.vector import Vector
from properties.vectors.wrong import Gives, step


def bare(called: str) -> Callable[[Gives], Gives]:
    """Enter a wrong step of such calls."""

    def enter(gives: Gives) -> Gives:
        def of_bare(vector: Vector) -> Call | Parts | None:
            return gives(vector) if is_bare(vector) else None

        of_bare.__doc__ = gives.__doc__
        step(called)(of_bare)
        return gives

    return enter


def is_bare(vector: Vector) -> bool:
    """Whether it is such a call."""
    told = {name for name, value in vars(vector.options).items() if value is not None}
    shared = vector.shape[1] != vector.keys.integers.shape[1]
    return told <= {"causal"} and not shared and not vector.empty


def as_many_keys(vector: Vector) -> bool:
    """Whether there are as many keys as queries."""
    return vector.shape[2] == vector.shape[3]


def telling(call: Call, scale: float) -> Call:
    """With this scale."""
    return replace(call, request=replace(call.request, scale=scale))


def of_logits(call: Call, logits: Array) -> Parts:
    """The softmax of these numbers, where a key is seen."""
    attended = call.attended
    weights, lse = softmax(logits, attended.seen, None)
    return replace(mixed(call, weights, attended), weights=weights, lse=lse)


def of_weights(call: Call, weights: Array) -> Parts:
    """These weights of the values, whatever they sum to; a row may give NaN."""
    found = mixed(call, weights, call.attended)
    return replace(found, weights=weights, nothing=np.zeros_like(found.nothing))


def giving(call: Call, output: Array) -> Parts:
    """With another output, (B, H, T, E)."""
    return replace(call.parts, output=output)
