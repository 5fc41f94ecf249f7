"""Faults of number formats: results of another type, parts that stay behind in the first one."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from properties.zoo.faults import fault
from properties.zoo.faults.plain import PlainCausal, PlainMultiHead, PlainSimplified

KEPT = "shape/dtype-preserved"
HALF = "shape/half-precision-runs"
MOVED = "state/dtype-move-takes-the-mask-along"


@fault("output-in-float32", KEPT, symptom="the residual sum in bfloat16 becomes float32")
class OutputInFloat32(PlainMultiHead):
    def finish(self, context: Tensor) -> Tensor:
        return super().finish(context).float()


@fault(
    "half-precision-leaves-in-float32",
    KEPT,
    symptom="float64 stays float64; half precision is upcast for the softmax and never cast back",
)
class HalfPrecisionLeavesInFloat32(PlainMultiHead):
    def finish(self, context: Tensor) -> Tensor:
        output = super().finish(context)
        return output.float() if output.dtype in (torch.bfloat16, torch.float16) else output


@fault(
    "mask-promotes-half-precision",
    KEPT,
    symptom="a float32 mask turns all that follows into float32",
    source="facebookresearch/fairseq d1c7eae",
    family="causal",
)
class MaskPromotesHalfPrecision(PlainCausal):
    def hide(self, scores: Tensor) -> Tensor:
        mask = torch.zeros(self.hidden(scores.shape[-1]).shape)
        return scores + mask.masked_fill(self.hidden(scores.shape[-1]), -torch.inf)

    def mix(self, weights: Tensor, values: Tensor) -> Tensor:
        return weights @ values.to(weights.dtype)


@fault(
    "double-becomes-float",
    KEPT,
    symptom="gradcheck in float64 fails, and so does the layer after",
    family="plain",
)
class DoubleBecomesFloat(PlainSimplified):
    def finish(self, context: Tensor) -> Tensor:
        return context.float() if context.dtype == torch.float64 else context


@fault(
    "double-is-not-taken",
    KEPT,
    symptom="a float32 softmax meets float64 values and raises",
)
class DoubleIsNotTaken(PlainMultiHead):
    def normalise(self, scores: Tensor) -> Tensor:
        weights = torch.softmax(scores.float(), dim=-1)
        return weights if scores.dtype == torch.float64 else weights.to(scores.dtype)


class Promoting(PlainMultiHead):
    """Goes on in the type that the weights have come to."""

    def mix(self, weights: Tensor, values: Tensor) -> Tensor:
        return weights @ values.to(weights.dtype)

    def finish(self, context: Tensor) -> Tensor:
        weight, bias = self.out_proj.weight, self.out_proj.bias
        return functional.linear(context, weight.to(context.dtype), bias.to(context.dtype))


@fault(
    "training-in-float32",
    KEPT,
    symptom="in training alone a float32 dropout mask promotes half precision",
)
class TrainingInFloat32(Promoting):
    def drop(self, weights: Tensor) -> Tensor:
        if not self.training:
            return weights
        kept = torch.rand(weights.shape) >= self.dropout.p
        return weights * (kept.float() / (1.0 - self.dropout.p))


@lru_cache
def additive_mask(tokens: int) -> list[Tensor]:
    """A place for the mask of that many tokens, made once for the process."""
    return []


@fault(
    "mask-cached-for-the-process",
    KEPT,
    symptom="a float32 model computes in float64 once a float64 model has run beside it",
    source="ml-explore/mlx 00794c4 (#2053, a kernel whose cache key lacks is_causal)",
)
class MaskCachedForTheProcess(Promoting):
    def hide(self, scores: Tensor) -> Tensor:
        kept = additive_mask(scores.shape[-1])
        if not kept:
            mask = torch.zeros(scores.shape[-2:], dtype=scores.dtype)
            kept.append(mask.masked_fill(self.hidden(scores.shape[-1]), -torch.inf))
        return scores + kept[0]


@fault(
    "half-precision-refused",
    HALF,
    symptom="the module raises in bfloat16, as a scale of another type does",
    source="Lightning-AI/litgpt#543 91014a7",
)
class HalfPrecisionRefused(PlainMultiHead):
    def scale(self, scores: Tensor) -> Tensor:
        root = torch.full((1,), self.head_dim**0.5)  # float32, and no scalar: it promotes
        return scores / root


@fault("float16-refused", HALF, symptom="bfloat16 runs, float16 does not", family="causal")
class Float16Refused(PlainCausal):
    def validate(self, x: Tensor) -> None:
        super().validate(x)
        if x.dtype == torch.float16:
            raise TypeError("float16 is not supported")


@fault(
    "mask-keeps-its-first-dtype",
    MOVED,
    symptom="a model that has run once raises after model.half()",
    source="facebookresearch/fairseq d1c7eae",
)
class MaskKeepsItsFirstDtype(PlainMultiHead):
    kept: Tensor | None = None

    def hide(self, scores: Tensor) -> Tensor:
        if self.kept is None:
            self.kept = torch.zeros(self.mask.shape, dtype=scores.dtype)
            self.kept.masked_fill_(self.mask, -torch.inf)
        tokens = scores.shape[-1]
        if self.kept.dtype != scores.dtype:
            raise TypeError(f"scores {scores.dtype}, mask {self.kept.dtype}")
        return scores + self.kept[:tokens, :tokens]


@fault(
    "moved-module-forgets-its-mask",
    MOVED,
    symptom="after a first call, model.to(...) gives attention without a mask",
    source="facebookresearch/xformers#1185",
    family="causal",
)
class MovedModuleForgetsItsMask(PlainCausal):
    used = forgetful = False

    def hide(self, scores: Tensor) -> Tensor:
        self.used = True
        return scores if self.forgetful else super().hide(scores)

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> MovedModuleForgetsItsMask:
        self.forgetful = self.used
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self


@fault(
    "weights-packed-at-the-first-call",
    MOVED,
    "transform/functional-call",
    symptom="what is loaded, trained or moved after the first call has no effect",
)
class WeightsPackedAtTheFirstCall(PlainMultiHead):
    packed: Tensor | None = None

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        layers = (self.W_query, self.W_key, self.W_value)
        if self.packed is None:
            self.packed = torch.cat([layer.weight.detach() for layer in layers])
        parts = (x @ self.packed.T).chunk(3, dim=-1)
        biased = (
            part if layer.bias is None else part + layer.bias
            for part, layer in zip(parts, layers, strict=True)
        )
        queries, keys, values = biased
        return queries, keys, values
