"""Attention of queries, keys and values, and its derivative: float64 NumPy, written from the formula.

    z_ij = cap(scale * q_i . k_j) + bias_ij,    w_ij = exp(z_ij) / (sum_j exp(z_ij) + exp(sink)),
    o_i = sum_j w_ij v_j                         the sums over the keys j that query i sees

Hidden keys never enter the arithmetic: exponentials are taken of what is seen and of nothing else, so
no mask constant can be wrong, and a hidden NaN stays where it is.

Legend: B batch, H heads, G groups, T queries, S keys, D head_dim, Dv columns of a value.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from properties.basics.dtypes import Array
from properties.truth.request import Request, Seen


@dataclass(frozen=True, eq=False)
class Attended:
    """Every intermediate result. Where a key is hidden, its weight is exactly zero.

    In a row that sees nothing and has no sink weights and context are as the request's `empty` has
    them, and lse is minus infinity.
    """

    scores: Array  # (B, H, T, S): q . k, of hidden keys as well
    logits: Array  # (B, H, T, S): after scale, cap and bias, of hidden keys as well
    seen: Seen  # (B, H, T, S)
    weights: Array  # (B, H, T, S)
    lse: Array  # (B, H, T): the logarithm of the denominator, the sink included
    context: Array  # (B, H, T, Dv)

    @property
    def empty(self) -> Seen:
        """(B, H, T): the rows in which nothing has any weight."""
        none: Seen = np.isneginf(self.lse)
        return none


def attend(queries: Array, keys: Array, values: Array, request: Request) -> Attended:
    """Attention of q (B, H, T, D), k (B, G, S, D), v (B, G, S, Dv); head h reads group h // (H / G).

    Raises ValueError where the sizes do not fit each other or the request.
    """
    require_sizes(queries, keys, values)
    heads, head_dim = queries.shape[1], queries.shape[-1]
    keys, values = (repeated(part, heads) for part in (keys, values))
    with np.errstate(over="ignore", invalid="ignore"):  # what is hidden may be any number
        scores = queries @ keys.swapaxes(-1, -2)
        logits = request.capped(scores * request.factor(head_dim))
        if request.bias is not None:
            logits = logits + request.bias
    seen = request.seen(scores.shape)
    weights, lse = softmax(logits, seen, request.sink)
    nothing = np.isneginf(lse)[..., None]
    if nothing.any():
        rest = {"zeros": 0.0, "nan": np.nan, "uniform": 1.0 / scores.shape[-1]}[request.empty]
        weights = np.where(nothing, rest, weights)
    enters = seen | nothing if request.empty == "uniform" else seen
    context = mix(weights, values, enters)
    if request.empty == "nan":
        context = np.where(nothing, np.nan, context)
    return Attended(scores, logits, seen, weights, lse, context)


def require_sizes(queries: Array, keys: Array, values: Array) -> None:
    """Raise ValueError where queries, keys and values do not fit each other."""
    heads, groups = queries.shape[1], keys.shape[1]
    if heads % groups or values.shape[1] != groups:
        raise ValueError(
            f"{heads} heads of queries, {groups} of keys, {values.shape[1]} of values: expected as "
            "many of keys as of values, and a number that divides that of the queries"
        )
    if queries.shape[-1] != keys.shape[-1] or keys.shape[2] != values.shape[2]:
        raise ValueError(
            f"queries {queries.shape}, keys {keys.shape}, values {values.shape}: expected queries as "
            "wide as keys, and as many keys as values"
        )


def repeated(parts: Array, heads: int) -> Array:
    """(B, G, S, D) -> (B, H, S, D): each group once for each head that reads it."""
    groups = parts.shape[1]
    return parts if groups == heads else np.repeat(parts, heads // groups, axis=1)


def over_groups(parts: Array, groups: int) -> Array:
    """(B, H, S, D) -> (B, G, S, D): the transpose of `repeated`, a sum over a group's heads."""
    batch, heads, *rest = parts.shape
    if groups == heads:
        return parts
    summed: Array = parts.reshape(batch, groups, heads // groups, *rest).sum(axis=2)
    return summed


def softmax(logits: Array, seen: Seen, sink: Array | None) -> tuple[Array, Array]:
    """Weights (B, H, T, S) and the logarithm of their denominator (B, H, T).

    The largest logit that is seen, or the sink if it is larger, is subtracted first. Where there is
    neither, the weights are zeros and the logarithm is minus infinity.
    """
    lowest = -np.inf if sink is None else np.reshape(sink, (-1, 1, 1))
    top = np.max(logits, axis=-1, keepdims=True, where=seen, initial=-np.inf)
    top = np.maximum(top, lowest)
    level = np.where(np.isneginf(top), 0.0, top)  # a row of nothing has no largest
    weights = np.zeros_like(logits)
    np.subtract(logits, level, out=weights, where=seen)
    np.exp(weights, out=weights, where=seen)
    total = weights.sum(axis=-1, keepdims=True)
    if sink is not None:
        total = total + np.exp(lowest - level)
    with np.errstate(divide="ignore"):  # the logarithm of no weight at all
        lse: Array = (np.log(total) + level)[..., 0]
    np.divide(weights, total, out=weights, where=seen)
    return weights, lse


def mix(weights: Array, values: Array, enters: Seen) -> Array:
    """Each row of weights (B, H, T, S) times those values (B, H, S, Dv) that enter it.

    All other weights are zero, and zero times a finite number is zero: one product does, unless there
    are numbers that are not finite. Then one row is taken at a time.
    """
    if np.isfinite(values).all():
        product: Array = weights @ values
        return product
    mixed = np.zeros((*weights.shape[:-1], values.shape[-1]))
    for b, h, row in np.ndindex(*weights.shape[:3]):
        own = enters[b, h, row]
        mixed[b, h, row] = weights[b, h, row, own] @ values[b, h, own]
    return mixed


@dataclass(frozen=True, eq=False)
class AttendedGradients:
    """Of sum(upstream * context), every step of the chain rule; zero wherever a key is hidden."""

    weights: Array  # (B, H, T, S)
    centred: Array  # (B, H, T, S), the weights' gradient less its mean under the weights
    logits: Array  # (B, H, T, S), which is also that of a bias of this shape
    scores: Array  # (B, H, T, S), before scale and cap
    queries: Array  # (B, H, T, D)
    keys: Array  # (B, G, S, D)
    values: Array  # (B, G, S, Dv)
    sink: Array | None  # (H,)


def attend_gradients(
    queries: Array,
    keys: Array,
    values: Array,
    request: Request,
    attended: Attended,
    upstream: Array,
) -> AttendedGradients:
    """The derivative of sum(upstream * context) by the chain rule; upstream is (B, H, T, Dv).

    With w = softmax(z) a change dz moves w_j by w_j (dz_j - sum_k w_k dz_k), so the gradient of z
    is w * (g - sum(w * g)) with g that of w. A sink is one more z, whose weight mixes nothing. A row
    that sees nothing gives constants, or the mean of the values; where it gives NaN, no derivative is
    taken of it.
    """
    heads, groups = queries.shape[1], keys.shape[1]
    keys, values = (repeated(part, heads) for part in (keys, values))
    seen, weights = attended.seen, attended.weights
    if request.empty == "nan":
        weights = np.where(attended.empty[..., None], 0.0, weights)
    with np.errstate(over="ignore", invalid="ignore"):  # what is hidden may be any number
        to_weights = np.where(seen, upstream @ values.swapaxes(-1, -2), 0.0)
        slope = request.slope(attended.scores * request.factor(queries.shape[-1]))
    mean = np.where(seen, weights * to_weights, 0.0).sum(axis=-1, keepdims=True)
    centred = np.where(seen, to_weights - mean, 0.0)
    to_logits = weights * centred
    to_scores = np.where(seen, to_logits * slope, 0.0) * request.factor(queries.shape[-1])
    enters = seen | attended.empty[..., None] if request.empty == "uniform" else seen
    to_keys = mix(to_scores.swapaxes(-1, -2), queries, seen.swapaxes(-1, -2))
    to_values = mix(weights.swapaxes(-1, -2), upstream, enters.swapaxes(-1, -2))
    return AttendedGradients(
        to_weights,
        centred,
        to_logits,
        to_scores,
        mix(to_scores, keys, seen),
        over_groups(to_keys, groups),
        over_groups(to_values, groups),
        None
        if request.sink is None
        else -(sink_weights(request, attended) * mean[..., 0]).sum((0, 2)),
    )


def sink_weights(request: Request, attended: Attended) -> Array:
    """The weight that the sink takes in each row, (B, H, T); zero without one."""
    if request.sink is None:
        return np.zeros_like(attended.lse)
    taken: Array = np.exp(
        np.reshape(request.sink, (-1, 1)) - np.where(attended.empty, 0.0, attended.lse)
    )
    return taken
