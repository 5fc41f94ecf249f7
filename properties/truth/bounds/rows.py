r"""How near is near in the long rows of `long_rows.py`, whose queries, keys and values are exact.

Their projections multiply by zero and one, the sums add zeros. A score is a sum of at most three
products that are not zero, of magnitude m in all and exact in every format; where queries or keys are
scaled before, or the scores after, gamma(12) m covers it. With the exponent's roundings (step 3 of
the derivation) every exponent of a row is off by at most

    E = gamma(12) m + 6 u (2 max|z| + 1).

No value is negative, so every term of a context has the sign of the whole, and a relative error of
its terms is one of the context c:

    |c' - c| <= c (exp(2 E) (1 + gamma(4 T + 16)) (1 + gamma(T + 8)) - 1) + T times the smallest normal.

In a short format that says nothing once 4 T roundings are as much as the number itself. But a row
whose largest exponential outweighs all others together needs no such sum. Let r be the weight of all
others times exp(2 E), and K = (1 + u)**(T + 16) what the roundings of their own sums can make of it at
most. Rounding is to nearest, so adding a to a partial sum S, itself a number of the format, moves it
by a and an error of at most a; a running maximum rescales S by exp(0) = 1 once the largest is in. So
numerator and denominator are those of the largest alone up to 2 K r, and with v the largest value

    |c' - c| <= gamma(24) c + 6 K r v + the smallest normal.

The smaller of the two holds. A column in which no key that a query sees has a value is a sum of
zeros, and exact: what is hidden has weight zero.

Legend: B items, T tokens, W = D columns; one head.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from properties.basics.dtypes import Array, Format
from properties.truth.attend import Attended, repeated
from properties.truth.bounds.arithmetic import gamma
from properties.truth.oracle import Trace
from properties.truth.request import Request


@dataclass(frozen=True, eq=False)
class Rows:
    """What the error of long rows depends on in any format, without the T x T of their scores.

    output: (B, T, W); magnitude, largest: m and max|z|, (B, T, 1); others: the weight of all keys but
    the first of each row, infinite where two share that place, (B, T, 1); value: the largest; zero:
    where no key that is seen has a value, (B, T, W).
    """

    output: Array
    magnitude: Array
    largest: Array
    others: Array
    value: float
    zero: Array


def rows_of(trace: Trace, *, causal: bool, scaled: bool) -> Rows:
    """The rows of a trace of one head."""
    queries, keys, values, scores, weights = (
        part[:, 0]
        for part in (trace.queries, trace.keys, trace.values, trace.scores, trace.weights)
    )
    scale = queries.shape[-1] ** -0.5 if scaled else 1.0
    magnitude = np.abs(queries) @ np.abs(keys).swapaxes(-1, -2)
    top = weights.max(axis=-1, keepdims=True)
    first = weights == top
    others = np.where(first, 0.0, weights).sum(axis=-1, keepdims=True)
    seen = np.maximum.accumulate(values, axis=1) if causal else values.max(axis=1, keepdims=True)
    return Rows(
        output=trace.output,
        magnitude=scale * magnitude.max(axis=-1, keepdims=True),
        largest=scale * np.abs(scores).max(axis=-1, keepdims=True),
        others=np.where(first.sum(axis=-1, keepdims=True) > 1, np.inf, others),
        value=float(values.max()),
        zero=np.broadcast_to(seen == 0.0, trace.output.shape),
    )


def rows_of_call(
    queries: Array, keys: Array, values: Array, request: Request, attended: Attended
) -> Rows:
    """The rows of one call, heads after items: (B * H, T, D) from (B, H, T, D) and (B, G, S, D)."""
    heads = queries.shape[1]
    keys, values = (repeated(part, heads) for part in (keys, values))
    scale = request.factor(queries.shape[-1])
    magnitude = np.abs(queries) @ np.abs(keys).swapaxes(-1, -2)
    weights = attended.weights
    first = weights == weights.max(axis=-1, keepdims=True)
    others = np.where(first, 0.0, weights).sum(axis=-1, keepdims=True)
    shared = first.sum(axis=-1, keepdims=True) > 1
    parts = (
        attended.context,
        scale * magnitude.max(axis=-1, keepdims=True),
        scale * np.abs(attended.scores).max(axis=-1, keepdims=True),
        np.where(shared, np.inf, others),
        attended.seen @ (values > 0.0).astype(np.float64) == 0.0,
    )
    output, magnitude, largest, others, zero = (part.reshape(-1, *part.shape[2:]) for part in parts)
    return Rows(output, magnitude, largest, others, float(values.max()), zero)


def rows_error(rows: Rows, fmt: Format) -> Array:
    """The allowed error of the output of long rows, (B, T, W)."""
    u, tokens = fmt.unit_roundoff, rows.output.shape[1]
    exponents = gamma(12, fmt) * rows.magnitude + 6.0 * u * (2.0 * rows.largest + 1.0)
    moved = np.exp(2.0 * exponents)
    sums = (1.0 + gamma(4 * tokens + 16, fmt)) * (1.0 + gamma(tokens + 8, fmt))
    others = rows.others * moved * (1.0 + u) ** (tokens + 16)
    with np.errstate(invalid="ignore"):  # nothing is claimed of zero times infinity
        mixed = rows.output * (moved * sums - 1.0) + tokens * fmt.smallest_normal
    dominated = gamma(24, fmt) * rows.output + 6.0 * others * rows.value + fmt.smallest_normal
    return np.where(rows.zero, 0.0, np.fmin(mixed, dominated))
