"""Faults of the context: what is done to values and weights besides mixing them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from properties.zoo.faults import fault
from properties.zoo.faults.plain import PlainCausal, PlainMultiHead, PlainSelf, PlainSimplified

HULL = "context/within-hull-of-visible-values"
CONSTANT = "context/constant-values-pass-through"
LINEAR = "context/linear-in-values"
SCALED = "context/scaling-values-scales-the-context"
VALUE = "oracle/output-within-bound"


@fault("values-rectified", SCALED, VALUE, symptom="no context is ever negative")
class ValuesRectified(PlainMultiHead):
    def mix(self, weights: Tensor, values: Tensor) -> Tensor:
        return super().mix(weights, values.relu())


@fault(
    "values-clipped",
    SCALED,
    VALUE,
    symptom="large values are cut: a few features lose their outliers",
)
class ValuesClipped(PlainMultiHead):
    def mix(self, weights: Tensor, values: Tensor) -> Tensor:
        return super().mix(weights, values.clamp(-2.0, 2.0))


@fault(
    "context-normalised",
    SCALED,
    LINEAR,
    CONSTANT,
    VALUE,
    symptom="every context has length one",
)
class ContextNormalised(PlainMultiHead):
    def mix(self, weights: Tensor, values: Tensor) -> Tensor:
        return functional.normalize(super().mix(weights, values), dim=-1)


@fault(
    "largest-for-the-sum",
    LINEAR,
    CONSTANT,
    VALUE,
    symptom="the strongest contribution counts, not the sum of all",
)
class LargestForTheSum(PlainMultiHead):
    def mix(self, weights: Tensor, values: Tensor) -> Tensor:
        shares = weights[..., None] * values[..., None, :, :]  # (B, H, T, T, D)
        return shares.amax(dim=-2)


@fault(
    "weights-look-at-values",
    LINEAR,
    SCALED,
    VALUE,
    symptom="long values are seen more than short ones",
)
class WeightsLookAtValues(PlainMultiHead):
    def mix(self, weights: Tensor, values: Tensor) -> Tensor:
        seen = weights * (1.0 + values.square().sum(dim=-1))[..., None, :]
        return super().mix(seen / seen.sum(dim=-1, keepdim=True), values)


@fault(
    "context-shrunk",
    CONSTANT,
    HULL,
    VALUE,
    symptom="contexts are one part in a hundred too small",
    family="causal",
)
class ContextShrunk(PlainCausal):
    def mix(self, weights: Tensor, values: Tensor) -> Tensor:
        return 0.99 * super().mix(weights, values)


@fault(
    "context-keeps-the-value",
    CONSTANT,
    HULL,
    VALUE,
    symptom="a token's own value is added to its context",
)
class ContextKeepsTheValue(PlainMultiHead):
    def mix(self, weights: Tensor, values: Tensor) -> Tensor:
        return super().mix(weights, values) + values


@fault(
    "context-extrapolated",
    HULL,
    VALUE,
    symptom="the mean of all that is seen is subtracted from twice the context",
)
class ContextExtrapolated(PlainMultiHead):
    def mix(self, weights: Tensor, values: Tensor) -> Tensor:
        seen = torch.arange(1, values.shape[-2] + 1, dtype=values.dtype)[:, None]
        return 2.0 * super().mix(weights, values) - values.cumsum(dim=-2) / seen


@fault(
    "value-columns-shifted",
    HULL,
    VALUE,
    symptom="each column of a head holds the one before it",
)
class ValueColumnsShifted(PlainMultiHead):
    def mix(self, weights: Tensor, values: Tensor) -> Tensor:
        return super().mix(weights, values.roll(1, dims=-1))


@fault(
    "sum-for-the-mean",
    CONSTANT,
    HULL,
    VALUE,
    symptom="longer sequences give larger contexts",
    family="self",
)
class SumForTheMean(PlainSelf):
    def normalise(self, scores: Tensor) -> Tensor:
        return super().normalise(scores) * scores.shape[-1]


@fault(
    "context-shrunk-in-simplified-attention",
    CONSTANT,
    HULL,
    VALUE,
    symptom="one more is in the denominator",
    family="plain",
)
class ContextShrunkInSimplifiedAttention(PlainSimplified):
    def normalise(self, scores: Tensor) -> Tensor:
        nothing = torch.zeros_like(scores[..., :1])
        return torch.softmax(torch.cat([scores, nothing], dim=-1), dim=-1)[..., :-1]


@fault(
    "values-centred",
    "causality/future-does-not-change-past",
    CONSTANT,
    symptom="the mean over the sequence, future included, is taken out of the values",
)
class ValuesCentred(PlainMultiHead):
    def mix(self, weights: Tensor, values: Tensor) -> Tensor:
        return super().mix(weights, values - values.mean(dim=-2, keepdim=True))
