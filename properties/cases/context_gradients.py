"""What is right for the gradients of x and of a context, and how near is near.

Legend: B batch, T tokens of x, S tokens of the context, W width of the output.
"""

from __future__ import annotations

import numpy as np

from properties.basics.assertions import near
from properties.basics.dtypes import Array
from properties.cases.call_gradients import slopes
from properties.cases.question import Question


def upstream(asked: Question) -> Array:
    """(B, T, W), integers from 1 to 4: the factors of the outputs whose sum is differentiated."""
    shape = asked.truth.output.shape
    integers = np.random.default_rng(asked.case.seed).integers(1, 5, size=shape)
    return integers.astype(np.float64)


def agree(asked: Question) -> float:
    """The subject's gradients are those of the formula; returns the share of the budget used."""
    case, factors = asked.case, upstream(asked)
    truth = slopes(asked, factors)
    module = asked.asked_of.build().module
    given = asked.asked(
        lambda: case.subject.context_gradients(
            module, asked.inputs, asked.arguments, factors, case.dtype
        )
    )
    return max(
        near(
            f"{asked.words} to have a gradient of {name} of",
            given[name],
            slope,
            truth.allowed[name],
            "batch token column",
        )
        for name, slope in truth.right.items()
    )
