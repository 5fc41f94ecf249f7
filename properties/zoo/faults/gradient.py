"""Faults of the backward pass: the output is right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from properties.zoo.faults import fault
from properties.zoo.faults.plain import PlainMultiHead

ALIVE = "gradient/every-parameter-receives-gradient"
VALUE = "oracle/gradient-within-bound"
SLOPE = "gradient/gradcheck"
SECOND = "gradient/second-derivative"
LOW = "gradient/low-precision-within-bound"
SHORT_FORMATS = (torch.bfloat16, torch.float16)


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


class HalfGradientInShortFormats(HalfGradient):
    """The identity, with half of the gradient in bfloat16 and float16."""

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0] / 2 if gradients[0].dtype in SHORT_FORMATS else gradients[0]


@fault(
    "backward-of-scores-halved-in-short-formats",
    LOW,
    symptom="one kernel for each format, and a factor was mended in one of them alone",
)
class BackwardOfScoresHalvedInShortFormats(PlainMultiHead):
    def score(self, queries: Tensor, keys: Tensor) -> Tensor:
        apply: Callable[[Tensor], Tensor] = HalfGradientInShortFormats.apply
        return apply(super().score(queries, keys))


@fault(
    "scores-detached-in-bfloat16",
    LOW,
    symptom="training in bfloat16 moves values alone",
)
class ScoresDetachedInBfloat16(PlainMultiHead):
    def score(self, queries: Tensor, keys: Tensor) -> Tensor:
        scores = super().score(queries, keys)
        return scores.detach() if scores.dtype is torch.bfloat16 else scores


class SoftmaxKeepingNumbers(torch.autograd.Function):
    """The softmax, whose way back takes its weights for constants."""

    generate_vmap_rule = True

    @staticmethod
    def forward(scores: Tensor) -> tuple[Tensor, Tensor]:
        weights = torch.softmax(scores, dim=-1)
        return weights, weights.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(output[1])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (weights,) = ctx.saved_tensors
        along = (weights * gradients[0]).sum(dim=-1, keepdim=True)
        result: Tensor = weights * (gradients[0] - along)
        return result


@fault(
    "second-derivative-lacks-a-part",
    SECOND,
    symptom="a penalty on gradients pulls the wrong way; training without one is right",
)
class SecondDerivativeLacksAPart(PlainMultiHead):
    def normalise(self, scores: Tensor) -> Tensor:
        apply: Callable[[Tensor], tuple[Tensor, Tensor]] = SoftmaxKeepingNumbers.apply
        return apply(scores)[0]
