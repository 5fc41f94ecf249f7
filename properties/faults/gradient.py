"""Faults of the backward pass: the output is right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from properties.faults import fault
from properties.faults.plain import PlainMultiHead

ALIVE = "gradient/every-parameter-receives-gradient"
VALUE = "oracle/gradient-within-bound"
SLOPE = "gradient/gradcheck"


@fault(
    "keys-detached",
    ALIVE,
    VALUE,
    SLOPE,
    symptom="W_key never trains; the loss still falls",
)
class KeysDetached(PlainMultiHead):
    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        queries, keys, values = super().project(x)
        return queries, keys.detach(), values


@fault(
    "weights-detached",
    ALIVE,
    VALUE,
    SLOPE,
    symptom="queries and keys never train",
)
class WeightsDetached(PlainMultiHead):
    def normalise(self, scores: Tensor) -> Tensor:
        return super().normalise(scores).detach()


class HalfGradient(torch.autograd.Function):
    """The identity, with half of the gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0] / 2


@fault(
    "backward-of-scores-halved",
    VALUE,
    SLOPE,
    symptom="a custom backward that forgot a factor: training is merely slow",
    source="Dao-AILab/flash-attention#355 (strides in a custom backward)",
)
class BackwardOfScoresHalved(PlainMultiHead):
    def score(self, queries: Tensor, keys: Tensor) -> Tensor:
        apply: Callable[[Tensor], Tensor] = HalfGradient.apply
        return apply(super().score(queries, keys))


@fault(
    "weights-changed-after-use",
    SLOPE,
    symptom="the output is right and backward() raises: a tensor that it needs was changed in place",
)
class WeightsChangedAfterUse(PlainMultiHead):
    def mix(self, weights: Tensor, values: Tensor) -> Tensor:
        context = super().mix(weights, values)
        weights.mul_(0.0)
        return context


@fault(
    "value-bias-cut-off",
    ALIVE,
    VALUE,
    SLOPE,
    symptom="the value bias stays at its start",
)
class ValueBiasCutOff(PlainMultiHead):
    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        queries, keys, values = super().project(x)
        if self.W_value.bias is not None:
            bias = self.W_value.bias
            values = values - bias + bias.detach()
        return queries, keys, values


@fault(
    "overflow-in-the-branch-not-taken",
    "gradient/gradients-are-finite-for-large-scores",
    symptom="the output is finite, the gradient NaN: torch.where differentiates both branches",
    source="pytorch/pytorch#42323 (NaN gradients of values that were masked out)",
)
class OverflowInTheBranchNotTaken(PlainMultiHead):
    def normalise(self, scores: Tensor) -> Tensor:
        exponentials = scores.exp()
        quick = exponentials / exponentials.sum(dim=-1, keepdim=True)
        careful = torch.softmax(scores, dim=-1)
        small = scores.detach().nan_to_num(neginf=0.0).abs().amax(dim=-1, keepdim=True) < 10
        return torch.where(small, quick, careful)
