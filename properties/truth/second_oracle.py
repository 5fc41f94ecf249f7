"""The truth once more, in another form: sixty decimal digits, scalar by scalar, no NumPy arithmetic.

    o_i = sum_j v_j / (sum_k e_k / e_j + e_sink / e_j)     over visible j, k, e the exponential of z
    lse_i = z_j + log(the denominator of j)                whichever j

The ratio form needs no maximum and no normalising, tanh is a quotient of exponentials. Decimals share
neither format nor summation order with the first oracle, and nothing is imported from it but the
dataclasses that say what is asked. Where the two differ by more than float64 rounding explains, one
of them is wrong, and no subject is judged by them.

Legend: B batch, T queries, S keys, H heads, G groups, D head_dim, Dv columns of a value.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from decimal import Decimal, localcontext

import numpy as np

from properties.basics.dtypes import Array
from properties.truth.digits import (
    NONE,
    PRECISE,
    Matrix,
    Vector,
    decimals,
    dot,
    moved,
    rounded,
    split,
    weighted,
)
from properties.truth.parameters import Weights
from properties.truth.positions import Rotary
from properties.truth.request import Request
from properties.truth.second_positions import turned

STEP = Decimal("1e-20")  # of the central difference: its error is of the order of 1e-40


@dataclass(frozen=True, eq=False)
class Asked:
    """What is asked of one head: rows of visible keys and of biases, and scalars."""

    visible: list[list[bool]]
    scale: Decimal
    cap: Decimal | None
    bias: Matrix
    sink: Decimal
    empty: str


@dataclass(frozen=True, eq=False)
class Answer:
    """What one query gets: `denominator` is that of the key whose logit is `level`."""

    context: Vector
    weights: Vector
    level: Decimal
    denominator: Decimal = Decimal(1)

    @property
    def lse(self) -> Decimal:
        """The logarithm of the sum of all exponentials."""
        return self.level + self.denominator.ln()


def output(
    x: Array,
    weights: Weights | None,
    *,
    heads: int,
    causal: bool = True,
    scaled: bool = True,
    request: Request | None = None,
    context: Array | None = None,
    positions: Rotary | None = None,
) -> Array:
    """What attention gives for x (B, T, d_in), rounded to float64 once, at the end.

    The arguments are those of the first oracle's `attention`.
    """
    tokens = x if context is None else context
    request = request or asked_by_flags(x.shape[1], tokens.shape[1], causal, scaled)
    with localcontext(PRECISE):
        inputs = decimals(x), decimals(tokens)
        return rounded(forward(*inputs, named(weights), heads, request, positions))


def slope(
    x: Array,
    weights: Weights | None,
    to_x: Array,
    to_weights: Weights | None,
    upstream: Array,
    *,
    heads: int,
    causal: bool = True,
    scaled: bool = True,
    request: Request | None = None,
    context: Array | None = None,
    to_context: Array | None = None,
    positions: Rotary | None = None,
) -> float:
    """The derivative of sum(upstream * output) along one direction of inputs and parameters."""
    tokens, to_tokens = (x, to_x) if context is None else (context, to_context)
    request = request or asked_by_flags(x.shape[1], tokens.shape[1], causal, scaled)
    with localcontext(PRECISE):
        directions, total = named(to_weights), Decimal(0)
        for step in (STEP, -STEP):
            parameters = {
                name: moved(matrix, directions[name], step)
                for name, matrix in named(weights).items()
            }
            inputs = (
                moved(decimals(x), decimals(to_x), step),
                (moved(decimals(tokens), decimals(to_tokens), step)),
            )
            result = forward(*inputs, parameters, heads, request, positions)
            total += step * weighted(result, decimals(upstream))
        return float(total / (2 * STEP * STEP))


def attend(
    queries: Array, keys: Array, values: Array, request: Request
) -> tuple[Array, Array, Array]:
    """Context (B, H, T, Dv), weights (B, H, T, S) and lse (B, H, T) of q, k and v, heads first."""
    shape = (*queries.shape[:3], keys.shape[2])
    with localcontext(PRECISE):
        asked = asked_of_heads(request, shape, queries.shape[-1])
        items = attended(decimals(queries), decimals(keys), decimals(values), asked)
        context, weights, lse = (
            [[[getattr(row, part) for row in rows] for rows in heads] for heads in items]
            for part in ("context", "weights", "lse")
        )
        return rounded(context), rounded(weights), rounded(lse)


def attend_slope(
    queries: Array,
    keys: Array,
    values: Array,
    request: Request,
    directions: dict[str, Array],
    upstream: Array,
) -> float:
    """The derivative of sum(upstream * context) along one direction.

    directions: of "queries", "keys", "values", "bias" (B, H, T, S) and "sink" (H,), those that move.
    A row that sees nothing must not give NaN, of which there is no derivative.
    """
    shape = (*queries.shape[:3], keys.shape[2])
    arrays = {"queries": queries, "keys": keys, "values": values}
    with localcontext(PRECISE):
        total = Decimal(0)
        for step in (STEP, -STEP):
            parts = [
                moved(decimals(array), decimals(directions[name]), step)
                if name in directions
                else decimals(array)
                for name, array in arrays.items()
            ]
            asked = asked_of_heads(request, shape, queries.shape[-1], directions, step)
            items = attended(parts[0], parts[1], parts[2], asked)
            rows = [[[row.context for row in head] for head in heads] for heads in items]
            total += step * weighted(rows, decimals(upstream))
        return float(total / (2 * STEP * STEP))


def asked_by_flags(queries: int, keys: int, causal: bool, scaled: bool) -> Request:
    """What the families ask."""
    visible = [[not causal or j <= i for j in range(keys)] for i in range(queries)]
    return Request(visible=np.array(visible), scale=None if scaled else 1.0)


def asked_of_heads(
    request: Request,
    shape: tuple[int, ...],
    head_dim: int,
    directions: dict[str, Array] | None = None,
    step: Decimal = STEP,
) -> list[list[Asked]]:
    """What is asked of each head of each item, bias and sink moved along their directions."""
    directions = directions or {}
    visible = np.broadcast_to(request.visible, shape).tolist()
    bias = decimals(np.broadcast_to(0.0 if request.bias is None else request.bias, shape))
    sinks = [NONE] * shape[1] if request.sink is None else decimals(request.sink)
    if "bias" in directions:
        bias = moved(bias, decimals(directions["bias"]), step)
    if "sink" in directions:
        sinks = moved(sinks, decimals(directions["sink"]), step)
    scale = 1 / Decimal(head_dim).sqrt() if request.scale is None else Decimal(request.scale)
    cap = None if request.cap is None else Decimal(request.cap)
    return [
        [
            Asked(rows, scale, cap, biases, sink, request.empty)
            for rows, biases, sink in zip(*heads, sinks, strict=True)
        ]
        for heads in zip(visible, bias, strict=True)
    ]


def forward(
    items: list[Matrix],
    sources: list[Matrix],
    p: dict[str, Matrix],
    heads: int,
    request: Request,
    positions: Rotary | None,
) -> list[Matrix]:
    """Every batch item by itself: a row of numbers for every query."""
    queries = [split(project(tokens, p, "query"), heads) for tokens in items]
    head_dim = len(queries[0][0][0])
    keys = [project(tokens, p, "key") for tokens in sources]
    groups = len(keys[0][0]) // head_dim
    parts = [split(rows, groups) for rows in keys]
    values = [split(project(tokens, p, "value"), groups) for tokens in sources]
    if positions is not None:
        queries = turned_items(queries, positions.queries, positions)
        parts = turned_items(parts, positions.keys, positions)
    shape = (len(items), heads, len(items[0]), len(sources[0]))
    found = attended(queries, parts, values, asked_of_heads(request, shape, head_dim))
    merged = [
        [[number for row in rows for number in row.context] for rows in zip(*item, strict=True)]
        for item in found
    ]
    return [project(rows, p, "out") for rows in merged]


def turned_items(items: list[list[Matrix]], at: Array, rotary: Rotary) -> list[list[Matrix]]:
    """Every head of every item turned at its positions, (T,) or (B, T)."""
    every = np.broadcast_to(at, (len(items), len(items[0][0])))
    return [
        [turned(head, own, rotary) for head in item] for item, own in zip(items, every, strict=True)
    ]


def attended(
    queries: list[list[Matrix]],
    keys: list[list[Matrix]],
    values: list[list[Matrix]],
    asked: list[list[Asked]],
) -> list[list[list[Answer]]]:
    """One answer for each query of each head of each item; head h reads group h // (H / G)."""
    share = len(queries[0]) // len(keys[0])
    return [
        [
            [answer(query, k[h // share], v[h // share], own, i) for i, query in enumerate(rows)]
            for h, (rows, own) in enumerate(zip(q, wanted, strict=True))
        ]
        for q, k, v, wanted in zip(queries, keys, values, asked, strict=True)
    ]


def answer(query: Vector, keys: Matrix, values: Matrix, asked: Asked, i: int) -> Answer:
    """What query i of one head gets."""
    sees = [j for j, bias in enumerate(asked.bias[i]) if asked.visible[i][j] and bias != NONE]
    weights, context = [Decimal(0)] * len(keys), [Decimal(0)] * len(values[0])
    if not sees and asked.sink == NONE:
        return of_nothing(values, asked.empty)
    logits = {j: logit(query, keys[j], asked) + asked.bias[i][j] for j in sees}
    base = next(iter(logits.values()), asked.sink)  # any number does: only quotients are formed
    powers, sunk = {j: (own - base).exp() for j, own in logits.items()}, (asked.sink - base).exp()
    total = Decimal(1)
    for j, power in powers.items():
        total = sum((other / power for other in powers.values()), sunk / power)
        weights[j] = 1 / total
        context = [c + v / total for c, v in zip(context, values[j], strict=True)]
    return Answer(context, weights, logits[sees[-1]] if sees else asked.sink, total)


def of_nothing(values: Matrix, empty: str) -> Answer:
    """What a query gets that sees no key: zeros, NaN, or the mean of all values."""
    number = len(values)
    if empty == "uniform":
        mean = [sum(column, Decimal(0)) / number for column in zip(*values, strict=True)]
        return Answer(mean, [1 / Decimal(number)] * number, NONE)
    rest = Decimal(0 if empty == "zeros" else "NaN")
    return Answer([rest] * len(values[0]), [rest] * number, NONE)


def logit(query: Vector, key: Vector, asked: Asked) -> Decimal:
    """The scaled score, or c tanh of it over c: tanh z = (1 - e) / (1 + e), e = exp(-2 z)."""
    scaled = asked.scale * dot(query, key)
    if asked.cap is None:
        return scaled
    decay = (-2 * abs(scaled) / asked.cap).exp()
    return (asked.cap * (1 - decay) / (1 + decay)).copy_sign(scaled)


def project(rows: Matrix, p: dict[str, Matrix], name: str) -> Matrix:
    """Rows @ matrix + bias; the rows themselves where there is no such matrix."""
    if name not in p:
        return rows
    columns = list(zip(*p[name], strict=True))
    offsets = p.get(f"{name}_bias", [[Decimal(0)] * len(columns)])[0]
    return [[dot(row, c) + o for c, o in zip(columns, offsets, strict=True)] for row in rows]


def named(weights: Weights | None) -> dict[str, Matrix]:
    """The parameters that are there by name, a bias as a matrix of one row."""
    if weights is None:
        return {}
    there = {field.name: getattr(weights, field.name) for field in fields(weights)}
    return {n: decimals(np.atleast_2d(array)) for n, array in there.items() if array is not None}
