"""The truth once more, in another form: sixty decimal digits, scalar by scalar, no NumPy arithmetic.

    context_i = sum_j v_j / sum_k exp((q_i . k_k - q_i . k_j) / sqrt(D))     over visible j, k

The ratio form needs no maximum and no normalising; decimals share neither format nor summation order
with the first oracle, and nothing is imported from it. Where the two differ by more than float64
rounding explains, one of them is wrong, and no subject is judged by them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from decimal import Context, Decimal, localcontext

import numpy as np

from properties.dtypes import Array
from properties.subject import Weights

DIGITS = 60
PRECISE = Context(prec=DIGITS, Emin=-999999, Emax=999999)
STEP = Decimal("1e-20")  # of the central difference: its error is of the order of 1e-40
Vector = list[Decimal]
Matrix = list[Vector]


def output(x: Array, weights: Weights | None, *, heads: int, causal: bool, scaled: bool) -> Array:
    """What attention gives for x (B, T, d_in), rounded to float64 once, at the end."""
    with localcontext(PRECISE):
        items = forward([decimals(item) for item in x], named(weights), heads, causal, scaled)
        return np.array([[[float(number) for number in row] for row in rows] for rows in items])


def slope(
    x: Array,
    weights: Weights | None,
    to_x: Array,
    to_weights: Weights | None,
    upstream: Array,
    *,
    heads: int,
    causal: bool,
    scaled: bool,
) -> float:
    """The derivative of sum(upstream * output) along one direction of input and parameters."""
    with localcontext(PRECISE):
        total = Decimal(0)
        factors = [decimals(item) for item in upstream]
        for sign in (STEP, -STEP):
            inputs = [
                moved(decimals(item), decimals(direction), sign)
                for item, direction in zip(x, to_x, strict=True)
            ]
            directions = named(to_weights)
            parameters = {
                name: moved(matrix, directions[name], sign)
                for name, matrix in named(weights).items()
            }
            result = forward(inputs, parameters, heads, causal, scaled)
            for rows, weightings in zip(result, factors, strict=True):
                total += sign * sum(map(dot, rows, weightings), Decimal(0))
        return float(total / (2 * STEP * STEP))


def forward(
    items: list[Matrix], p: dict[str, Matrix], heads: int, causal: bool, scaled: bool
) -> list[Matrix]:
    """Every batch item by itself: a row of H * D numbers for every token."""
    return [attend(tokens, p, heads, causal, scaled) for tokens in items]


def attend(tokens: Matrix, p: dict[str, Matrix], heads: int, causal: bool, scaled: bool) -> Matrix:
    """One batch item."""
    queries, keys, values = (project(tokens, p, name) for name in ("query", "key", "value"))
    dim = len(queries[0]) // heads
    divisor = Decimal(dim).sqrt() if scaled else Decimal(1)
    context: Matrix = [[] for _ in tokens]
    for head in range(heads):
        own = slice(head * dim, (head + 1) * dim)
        for i, query in enumerate(queries):
            visible = range(i + 1 if causal else len(tokens))
            scores = [dot(query[own], keys[j][own]) for j in visible]
            context[i] += mixture(scores, [values[j][own] for j in visible], divisor)
    return project(context, p, "out")


def mixture(scores: Vector, values: list[Vector], divisor: Decimal) -> Vector:
    """The values weighted by 1 / sum_k exp((s_k - s_j) / divisor)."""
    result = [Decimal(0)] * len(values[0])
    for own, value in zip(scores, values, strict=True):
        total = sum((((other - own) / divisor).exp() for other in scores), Decimal(0))
        result = [r + v / total for r, v in zip(result, value, strict=True)]
    return result


def project(rows: Matrix, p: dict[str, Matrix], name: str) -> Matrix:
    """Rows @ matrix + bias; the rows themselves where there is no such matrix."""
    if name not in p:
        return rows
    columns = list(zip(*p[name], strict=True))
    offsets = p.get(f"{name}_bias", [[Decimal(0)] * len(columns)])[0]
    return [[dot(row, c) + o for c, o in zip(columns, offsets, strict=True)] for row in rows]


def dot(left: Sequence[Decimal], right: Sequence[Decimal]) -> Decimal:
    """The sum of products, from the last to the first."""
    total = Decimal(0)
    for a, b in zip(reversed(left), reversed(right), strict=True):
        total += a * b
    return total


def named(weights: Weights | None) -> dict[str, Matrix]:
    """The parameters that are there by name, a bias as a matrix of one row."""
    if weights is None:
        return {}
    there = {field.name: getattr(weights, field.name) for field in fields(weights)}
    return {n: decimals(np.atleast_2d(array)) for n, array in there.items() if array is not None}


def moved(rows: Matrix, direction: Matrix, step: Decimal) -> Matrix:
    """Rows + step * direction."""
    pairs = zip(rows, direction, strict=True)
    return [[n + step * d for n, d in zip(*pair, strict=True)] for pair in pairs]


def decimals(rows: Array) -> Matrix:
    """Every float64 as the decimal that it is exactly."""
    return [[Decimal(float(number)) for number in row] for row in rows]
