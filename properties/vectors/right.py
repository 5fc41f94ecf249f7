"""What is right for a vector, from sixty decimal digits, and how far a right kernel may be from it.

Nothing of it depends on a machine's exponential: the second oracle computes in decimals and rounds once.
The bounds are those of `truth/bounds`, by the first oracle.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import Any

import numpy as np

from properties.basics.dtypes import FORMATS, Array
from properties.truth.attend import repeated
from properties.truth.bounds import ANGLES, Near, exactly, gamma, product_error
from properties.truth.bounds.attend import Attending
from properties.truth.bounds.positions import turned
from properties.truth.digits import PRECISE, decimals, dot, rounded
from properties.truth.second_oracle import asked_of_heads, attended, turned_items
from properties.vectors.call import Call, Parts
from properties.vectors.long_rows import SHORT, closed_parts

WIDEST = "bfloat16"


@dataclass(frozen=True, eq=False)
class Right:
    """What is right, and the bounds by format and by part."""

    parts: Parts
    bounds: Mapping[str, Mapping[str, Array]]


def right_of(call: Call) -> Right:
    """Of a call."""
    parts = exact_parts(call) if call.shape[3] <= SHORT else closed_parts(call)
    return Right(parts, {name: bounds_of(call, name) for name in FORMATS})


def exact_parts(call: Call) -> Parts:
    """Rounded to float64 once, at the end."""
    with localcontext(PRECISE):
        rows = answers(call)
        factors = decimals(np.ones(call.shape) if call.kept is None else call.kept * 1.0)
        kept = Decimal(1) - Decimal(call.dropout)
        values = decimals(repeated(call.values, call.shape[1]))
        output = [
            [
                [
                    dropped(answer, [f / kept for f in factor], own)
                    if call.kept is not None
                    else answer.context
                    for answer, factor in zip(*pair, strict=True)
                ]
                for *pair, own in zip(*item, strict=True)
            ]
            for item in zip(rows, factors, values, strict=True)
        ]
        weights, lse = (
            [[[getattr(row, part) for row in rows] for rows in heads] for heads in rows]
            for part in ("weights", "lse")
        )
        return Parts(rounded(output), rounded(lse), rounded(weights), np.isneginf(rounded(lse)))


def answers(call: Call) -> list[list[list[Any]]]:
    """The second oracle's answer for each query, by item and head; inside its context of decimals."""
    queries, keys = decimals(call.queries), decimals(call.keys)
    if call.rotary is not None:
        queries = turned_items(queries, call.rotary.queries, call.rotary)
        keys = turned_items(keys, call.rotary.keys, call.rotary)
    asked = asked_of_heads(call.request, call.shape, call.queries.shape[-1])
    return attended(queries, keys, decimals(call.values), asked)


def dropped(answer: Any, factors: list[Decimal], values: list[list[Decimal]]) -> list[Decimal]:
    """The mix of values by weights times factors."""
    weights = [w * f for w, f in zip(answer.weights, factors, strict=True)]
    return [dot(weights, column) for column in zip(*values, strict=True)]


def bounds_of(call: Call, dtype: str) -> dict[str, Array]:
    """The allowed errors of output, lse and weights; infinite where nothing is claimed."""
    with np.errstate(all="ignore"):
        own, oracle = (of_format(call, name) for name in (dtype, "float64"))
    return {name: own[name] + oracle[name] for name in own}


def of_format(call: Call, dtype: str) -> dict[str, Array]:
    """The budget of one format."""
    steps = attending(call, dtype)
    budget = steps.budget()
    found = {"output": budget.context, "lse": budget.lse, "weights": budget.weights}
    factors = call.multiplied
    if factors is not None:
        near = steps.weights
        carried = factors * near.error + gamma(4, steps.fmt) * factors * near.grown
        kept = Near(near.value * factors, carried)
        found["output"] = product_error(kept, steps.value, steps.fmt, terms=steps.number)
    return found


def attending(call: Call, dtype: str) -> Attending:
    """The steps of the derivation, after the turn by positions."""
    fmt = FORMATS[dtype]
    queries, keys = exactly(call.queries), exactly(call.keys)
    if call.rotary is not None:
        rotary, angles = call.rotary, FORMATS[ANGLES]
        queries = turned(queries, rotary.queries, rotary, fmt, angles)
        keys = turned(keys, rotary.keys, rotary, fmt, angles)
    return Attending(fmt, call.request, call.attended, queries, keys, exactly(call.values))
