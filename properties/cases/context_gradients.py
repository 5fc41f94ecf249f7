"""What is right for the gradients of x and of a context, and how near is near.

Legend: B batch, T tokens of x, S tokens of the context, W width of the output.
"""

from __future__ import annotations

import numpy as np

from properties.basics.assertions import near
from properties.basics.dtypes import Array
from properties.cases.question import Question
from properties.truth import bounds, oracle


def upstream(asked: Question) -> Array:
    """(B, T, W), integers from 1 to 4: the factors of the outputs whose sum is differentiated."""
    shape = asked.truth.output.shape
    integers = np.random.default_rng(asked.case.seed).integers(1, 5, size=shape)
    return integers.astype(np.float64)


def agree(asked: Question) -> float:
    """The subject's gradients are those of the formula; returns the share of the budget used."""
    case, x, weights, factors = asked.case, asked.inputs["x"], asked.weights, upstream(asked)
    trace = oracle.attention(
        x,
        weights,
        heads=case.sizes.heads,
        request=asked.request,
        context=asked.inputs["context"],
    )
    right = oracle.gradients(x, weights, trace, factors)
    allowed = bounds.gradient_budget(x, weights, trace, right, factors, case.dtype)
    module = asked.asked_of.build().module
    given = asked.asked(
        lambda: case.subject.context_gradients(
            module, asked.inputs, asked.arguments, factors, case.dtype
        )
    )
    pairs = {"x": (right.x, allowed.x), "context": (right.tokens, allowed.tokens)}
    return max(
        near(
            f"{asked.words} to have a gradient of {name} of",
            given[name],
            np.asarray(slope),
            np.asarray(error),
            "batch token column",
        )
        for name, (slope, error) in pairs.items()
    )
