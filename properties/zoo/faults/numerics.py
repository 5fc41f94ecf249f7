"""Faults of range and precision."""

from __future__ import annotations

import torch
from torch import Tensor

from properties.zoo.faults import fault
from properties.zoo.faults.plain import PlainMultiHead

LARGE = "numerics/large-scores-stay-finite"
LOW = "numerics/low-precision-within-bound"
DOWNCAST = "numerics/no-quiet-downcast"


@fault(
    "softmax-without-maximum",
    LARGE,
    "numerics/saturates-to-the-largest-score",
    symptom="NaN once a score passes 88 in float32, after days of training",
)
class SoftmaxWithoutMaximum(PlainMultiHead):
    def normalise(self, scores: Tensor) -> Tensor:
        exponentials = scores.exp()
        return exponentials / exponentials.sum(dim=-1, keepdim=True)


@fault(
    "one-maximum-for-the-tensor",
    "numerics/rows-of-very-different-magnitude",
    symptom="0/0 in rows whose scores lie far below another row's",
)
class OneMaximumForTheTensor(PlainMultiHead):
    def normalise(self, scores: Tensor) -> Tensor:
        largest = scores.amax() if scores.numel() else 0.0
        exponentials = (scores - largest).exp()
        return exponentials / exponentials.sum(dim=-1, keepdim=True)


@fault(
    "scores-clamped",
    "numerics/saturates-to-the-largest-score",
    symptom="no NaN, but sharp attention becomes blunt",
)
class ScoresClamped(PlainMultiHead):
    def normalise(self, scores: Tensor) -> Tensor:
        hidden = torch.isneginf(scores)
        return torch.softmax(scores.clamp(-50, 50).masked_fill(hidden, -torch.inf), dim=-1)


@fault(
    "softmax-in-bfloat16",
    DOWNCAST,
    "oracle/output-within-bound",
    symptom="two digits of precision in a model that says float32",
    source="google/flax#4008 (a flag for the softmax's precision that was ignored)",
)
class SoftmaxInBfloat16(PlainMultiHead):
    def normalise(self, scores: Tensor) -> Tensor:
        return torch.softmax(scores.bfloat16(), dim=-1).to(scores.dtype)


@fault(
    "float64-through-float32",
    "numerics/float64-weights-are-no-float32",
    symptom="gradient checks fail by 1e-4 for no visible reason",
    source="huggingface/transformers (softmax with dtype=float32, whatever the input)",
)
class Float64ThroughFloat32(PlainMultiHead):
    def normalise(self, scores: Tensor) -> Tensor:
        return torch.softmax(scores, dim=-1, dtype=torch.float32).to(scores.dtype)


@fault(
    "values-through-float32",
    DOWNCAST,
    symptom="a model in double precision that is right to seven digits",
)
class ValuesThroughFloat32(PlainMultiHead):
    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        queries, keys, values = super().project(x)
        return queries.float(), keys.float(), values.float()

    def merge(self, context: Tensor) -> Tensor:
        return super().merge(context).to(self.out_proj.weight.dtype)


@fault(
    "noise-in-eval",
    "numerics/deterministic-in-eval",
    symptom="the same prompt gives different logits",
)
class NoiseInEval(PlainMultiHead):
    def normalise(self, scores: Tensor) -> Tensor:
        return torch.softmax(scores * (1.0 + 1e-6 * torch.rand(())), dim=-1)


@fault(
    "scale-rounded-in-half-precision",
    LOW,
    symptom="fine in float32, blurred in bfloat16",
)
class ScaleRoundedInHalfPrecision(PlainMultiHead):
    def scale(self, scores: Tensor) -> Tensor:
        if scores.dtype in (torch.bfloat16, torch.float16):
            return scores / round(self.head_dim**0.5 + 0.5)
        return super().scale(scores)


@fault(
    "values-lost-in-half-precision",
    LOW,
    symptom="small values vanish in bfloat16 and float16",
)
class ValuesLostInHalfPrecision(PlainMultiHead):
    def mix(self, weights: Tensor, values: Tensor) -> Tensor:
        if values.dtype in (torch.bfloat16, torch.float16):
            values = (values / 2).round() * 2
        return weights @ values


@fault(
    "scale-off-by-a-millionth",
    "oracle/output-within-bound",
    symptom="none: a rounded constant, seen in double precision alone",
)
class ScaleOffByAMillionth(PlainMultiHead):
    def scale(self, scores: Tensor) -> Tensor:
        return super().scale(scores) * (1.0 + 1e-6)
