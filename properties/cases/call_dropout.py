"""The weights of a call under dropout, read through values of zeros and ones.

Legend: B batch, H query heads, G key-value heads, T queries, S keys, D columns of a value.
"""

from __future__ import annotations

import numpy as np

from properties.basics.assertions import near
from properties.cases.question import Question
from properties.subjects.call import Handing
from properties.truth.bounds import survivors

PROBABILITY = 0.5


def weights_hold(asked: Question) -> float:
    """Each weight is dropped or scaled by 1 / (1 - p), a hidden one is zero; returns the share of the
    budget used.

    As many keys are read at a time as a value has columns.
    """
    width, keys = asked.inputs["values"].shape[3], asked.shape[3]
    return max(read(asked, start) for start in range(0, keys, width))


def with_visible_weights(asked: Question, start: int = 0) -> Question:
    """The question with values of zeros and ones, whose output is the weights of D keys from one on."""
    values = asked.inputs["values"]
    ones = np.broadcast_to(np.eye(values.shape[2], values.shape[3], k=-start), values.shape).copy()
    return asked.with_inputs({**asked.inputs, "values": ones})


def read(asked: Question, start: int) -> float:
    """The weights of D keys from one on."""
    width = asked.inputs["values"].shape[3]
    batch, heads, tokens, _ = asked.shape
    reading = with_visible_weights(asked, start)
    given = reading.answer_handing(Handing(dropout=PROBABILITY)).output
    weights, error = reading.truth.output, reading.truth.allowed
    kept = np.where(given == 0.0, 0.0, weights / (1.0 - PROBABILITY))
    allowed = survivors(weights, error, PROBABILITY, asked.case.dtype)
    what = f"{asked.words} and dropout of {PROBABILITY} to give a weight of"
    shape = (batch, tokens, heads, width)
    given, kept, allowed, weights = (
        part.reshape(shape) for part in (given, kept, allowed, weights)
    )
    hidden = (weights == 0.0) & np.isfinite(allowed)
    return near(what, given, kept, np.where(hidden, 0.0, allowed), "batch query head key")
