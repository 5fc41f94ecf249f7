"""Two calls that have to give the same output."""

from __future__ import annotations

from typing import Any

import numpy as np

from properties.basics.assertions import near
from properties.cases.question import Question

ALL = np.s_[:]


def same_output(
    what: str, one: Question, other: Question, there: Any = ALL, here: Any = ALL
) -> float:
    """The output of one call is that of the other; returns the share used of what both may be off.

    there, here: the rows of the one and of the other, as an index of (batch, query), all if left out.
    """
    return near(
        f"{what} an output of",
        one.answer().output[there],
        other.answer().output[here],
        one.truth.allowed[there] + other.truth.allowed[here],
        "batch query column",
    )
