"""Contexts that are not the weighted sum of the values, and outputs that something was done to.

Legend: B batch, T tokens, H heads, D head_dim, W = H * D.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from properties.basics.dtypes import Array
from properties.findings.names.arithmetic import moved, normalised, plus, times, total
from properties.findings.names.catalogue import wrong
from properties.findings.names.formula import Formula
from properties.subjects.subject import FAMILIES, HEADED_FAMILIES, JOINED_FAMILIES
from properties.truth.bounds import Near, exactly

MIX = "the product of weights and values, and what is done to it"
EINSUM = "the letters of the einsum"
END = "what is done to the output"
Mixing = Callable[[Formula, Near, Near], Near]


def mixing(called: str, mix: Mixing, look: str = MIX, *, alone: bool = False) -> None:
    """Enter another way from weights (B, H, T, T) and values (B, H, T, D) to contexts."""

    @wrong(called, look, FAMILIES, alone=alone)
    class Mixed(Formula):
        """Another context."""

        def mix(self, weights: Near, values: Near) -> Near:
            return mix(self, weights, values)


def right(formula: Formula, weights: Near, values: Near) -> Near:
    """The context as it should be."""
    return Formula.mix(formula, weights, values)


def by_number(formula: Formula, weight: Near, values: Near) -> Near:
    """Each token's own value times a number of its own, (B, H, T, 1)."""
    value = weight.value * values.value
    error = weight.error * values.grown + weight.size * values.error
    return Near(value, error + 4.0 * formula.fmt.unit_roundoff * (np.abs(value) + error))


def own_weight(formula: Formula, weights: Near, values: Near) -> Near:
    """What a token gives to itself."""
    return by_number(formula, moved(weights, diagonal), values)


def diagonal(array: Array) -> Array:
    """(B, H, T, T) -> (B, H, T, 1)."""
    return np.diagonal(array, axis1=-2, axis2=-1)[..., None]


def summed_first(formula: Formula, weights: Near, values: Near) -> Near:
    """The weights of a row are summed before they meet the values."""
    return by_number(formula, total(weights, -1, formula.fmt), values)


def by_query(formula: Formula, weights: Near, values: Near) -> Near:
    """The weights are transposed."""
    return right(formula, weights.turned, values)


def largest(formula: Formula, weights: Near, values: Near) -> Near:
    """The largest contribution in place of the sum of all, coordinate by coordinate."""
    w = moved(weights, lambda array: array[..., None])  # (B, H, T, T, 1)
    v = moved(values, lambda array: array[..., None, :, :])  # (B, H, 1, T, D)
    product = by_number(formula, w, v)
    return Near(product.value.max(axis=-2), product.error.max(axis=-2))


def of_length_one(formula: Formula, weights: Near, values: Near) -> Near:
    """Each context over its own length."""
    rms = normalised(right(formula, weights, values), formula.fmt)
    return times(rms, values.value.shape[-1] ** -0.5, formula.fmt)


def extrapolated(formula: Formula, weights: Near, values: Near) -> Near:
    """Twice the context, less the mean of all values that are seen."""
    seen = np.broadcast_to(formula.seen(), weights.value.shape)
    mean = right(formula, exactly(seen / seen.sum(axis=-1, keepdims=True)), values)
    twice = times(right(formula, weights, values), 2.0, formula.fmt)
    return plus(twice, times(mean, -1.0, formula.fmt), formula.fmt)


mixing("own weight alone is used: the diagonal of the weights", own_weight, EINSUM)
mixing("each token gets its own value: weights are summed first", summed_first, EINSUM)
mixing("weights transposed before they meet the values", by_query, EINSUM)
mixing("largest contribution in place of the sum of all", largest)
mixing("contexts brought to length one", of_length_one)
mixing("mean of the values that are seen subtracted from twice the context", extrapolated)
mixing(
    "columns of the values shifted by one",
    lambda f, w, v: right(f, w, moved(v, lambda array: np.roll(array, 1, axis=-1))),
)
for part in (0.99, 0.9, 0.5, 2.0):
    mixing(
        f"contexts multiplied by {part:g}",
        lambda f, w, v, part=part: times(right(f, w, v), part, f.fmt),  # type: ignore[misc]
        alone=True,
    )
for limit in (1.0, 2.0, 4.0, 6.0, 8.0):
    mixing(
        f"values cut off at {limit:g}",
        lambda f, w, v, limit=limit: right(f, w, Near(v.value.clip(-limit, limit), v.error)),  # type: ignore[misc]
        alone=True,
    )
for part in (0.1, 0.01):

    @wrong("part of every row of weights spread over all that is seen", MIX, FAMILIES, alone=True)
    class Smoothed(Formula):
        """A label smoothing of the weights."""

        part = part

        def drop(self, weights: Near) -> Near:
            seen = np.broadcast_to(self.seen(), weights.value.shape)
            spread = self.part * seen / seen.sum(axis=-1, keepdims=True)
            rounding = self.fmt.unit_roundoff * 8.0 * spread
            kept = times(weights, 1.0 - self.part, self.fmt)
            return super().drop(plus(kept, Near(spread, rounding), self.fmt))

    @wrong("part of the weights of the next head mixed in", MIX, HEADED_FAMILIES, alone=True)
    class Talking(Formula):
        """Heads talk."""

        part = part

        def drop(self, weights: Near) -> Near:
            other = moved(weights, lambda array: np.roll(array, 1, axis=1))
            kept = times(weights, 1.0 - self.part, self.fmt)
            return super().drop(plus(kept, times(other, self.part, self.fmt), self.fmt))


@wrong("output normalised: a layer norm after attention", END, FAMILIES)
class LayerNorm(Formula):
    """Mean zero and variance one."""

    def finish(self, context: Near) -> Near:
        return normalised(super().finish(context), self.fmt, centred=True, epsilon=1e-5)


@wrong("output bias for the first token alone", "where the bias is added", JOINED_FAMILIES)
class OutBiasFirst(Formula):
    """A bias that was broadcast along the tokens."""

    def finish(self, context: Near) -> Near:
        with_bias, bias = super().finish(context), self.parameters.out_bias
        if bias is None:
            return with_bias
        later = np.arange(self.sizes.tokens)[:, None] > 0
        return Near(with_bias.value - later * bias, with_bias.error)
