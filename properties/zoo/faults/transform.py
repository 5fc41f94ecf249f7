"""Faults under PyTorch's transformations: right when called, not when transformed."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from properties.zoo.faults import fault
from properties.zoo.faults.plain import PlainCausal, PlainMultiHead, PlainSimplified

CALLED = "transform/functional-call"
MAPPED = "transform/vmap-equals-loop"
EXPORTED = "transform/export-equals-eager"


@fault(
    "weights-held-under-a-second-name",
    CALLED,
    symptom="functional_call with other parameters still computes with the module's own",
)
class WeightsHeldUnderASecondName(PlainMultiHead):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.held = [self.W_value.weight]

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        queries, keys, _ = super().project(x)
        return queries, keys, functional.linear(x, self.held[0], self.W_value.bias)


@fault(
    "parameters-replaced-by-the-call",
    CALLED,
    symptom="after functional_call the module has the parameters of the call",
    family="causal",
)
class ParametersReplacedByTheCall(PlainCausal):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.own = [self.W_key.weight]

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        own = self.own[0]
        if own is not self.W_key.weight:
            own.data.copy_(self.W_key.weight.data)
        return super().project(x)


@fault(
    "branch-on-a-value",
    MAPPED,
    EXPORTED,
    symptom="vmap, export and CUDA graphs fail: Python looks at a score",
)
class BranchOnAValue(PlainMultiHead):
    def hide(self, scores: Tensor) -> Tensor:
        if float(scores.abs().sum()) == 0.0:
            scores = torch.zeros_like(scores)
        return super().hide(scores)


@fault(
    "detour-through-numpy",
    EXPORTED,
    MAPPED,
    symptom="a detour through NumPy cannot be traced",
    family="plain",
)
class DetourThroughNumpy(PlainSimplified):
    def normalise(self, scores: Tensor) -> Tensor:
        largest = scores.detach().double().numpy().max(axis=-1, keepdims=True)
        return torch.softmax(scores - torch.from_numpy(largest).to(scores.dtype), dim=-1)


@fault(
    "mapped-items-share-a-buffer",
    MAPPED,
    symptom="under vmap a write in place fails, or mixes the items",
)
class MappedItemsShareABuffer(PlainMultiHead):
    def merge(self, context: Tensor) -> Tensor:
        batch, heads, tokens, head_dim = context.shape
        merged = torch.empty(batch, tokens, heads, head_dim, dtype=context.dtype)
        merged.copy_(context.transpose(1, 2))
        return merged.flatten(2)


@fault(
    "scale-lost-in-the-compiler",
    EXPORTED,
    symptom="the exported model is scaled by another constant than the module",
    source="pytorch/pytorch#174049 (a fused pattern)",
)
class ScaleLostInTheCompiler(PlainMultiHead):
    def scale(self, scores: Tensor) -> Tensor:
        return scores if torch.compiler.is_compiling() else super().scale(scores)


@fault(
    "mask-left-out-of-the-exported-program",
    EXPORTED,
    symptom="the exported model sees the future",
    family="causal",
)
class MaskLeftOutOfTheExportedProgram(PlainCausal):
    def hide(self, scores: Tensor) -> Tensor:
        return scores if torch.compiler.is_compiling() else super().hide(scores)


@fault(
    "scale-lost-by-compiling",
    "transform/compile-equals-eager",
    symptom="the compiled model is subtly worse than the one that was validated",
    source="pytorch/pytorch#174049 (a pattern replaced by a kernel that ignores the scale)",
)
class ScaleLostByCompiling(PlainMultiHead):
    def scale(self, scores: Tensor) -> Tensor:
        return scores if torch.compiler.is_compiling() else super().scale(scores)
