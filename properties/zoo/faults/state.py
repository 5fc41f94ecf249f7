"""Faults of state: what a call, a copy or another instance leaves behind."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from properties.zoo.faults import fault
from properties.zoo.faults.plain import PlainCausal, PlainMultiHead, PlainSelf, PlainSimplified

INPUT = "state/input-untouched"
PURE = "state/forward-is-pure"
SHARED = "state/instances-share-nothing"
SAVED = "state/state-dict-round-trip"
COPIED = "state/deepcopy"
PICKLED = "state/pickle"
MODES = "state/train-and-eval-reach-dropout"
DEFERRED = "state/survives-deferred-construction"


@fault(
    "input-scaled-in-place",
    INPUT,
    symptom="the residual path carries a scaled input",
)
class InputScaledInPlace(PlainMultiHead):
    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        queries, keys, values = super().project(x)
        x /= self.head_dim**0.5
        return queries, keys, values


@fault(
    "input-holds-the-context",
    INPUT,
    symptom="where d_in = d_out the result is written over the input",
    source="Shujun-He/RibonanzaNet#7 (a mask, in place)",
    family="plain",
)
class InputHoldsTheContext(PlainSimplified):
    def mix(self, weights: Tensor, values: Tensor) -> Tensor:
        return values.copy_(weights @ values)


@fault(
    "input-dropped-in-place-in-training",
    INPUT,
    symptom="right in eval; in training zeros appear in the residual path",
    family="causal",
)
class InputDroppedInPlace(PlainCausal):
    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        projected = super().project(x)
        nn.functional.dropout(x, self.dropout.p, self.training, inplace=True)
        return projected


@fault("single-item-changed-in-place", INPUT, symptom="only a batch of one is written to")
class SingleItemChangedInPlace(PlainMultiHead):
    def forward(self, x: Tensor) -> Tensor:
        output = super().forward(x)
        if x.shape[0] == 1:
            x.zero_()
        return output


@fault(
    "keys-of-the-last-call-stay",
    PURE,
    symptom="a second, unrelated prompt attends to the first one",
    source="rasbt/LLMs-from-scratch#925 d7f178d",
    family="self",
)
class KeysOfTheLastCallStay(PlainSelf):
    last: Tensor | None = None

    def score(self, queries: Tensor, keys: Tensor) -> Tensor:
        last, self.last = self.last, keys
        if last is None or last.shape != keys.shape:
            last = keys
        return queries @ (keys + last).transpose(-2, -1) / 2


@fault(
    "result-kept-by-shape",
    PURE,
    symptom="a second input of the same shape gives the first one's output",
    apart="what is kept is wrong for another input, and repeats a pattern of dropout",
)
class ResultKeptByShape(PlainMultiHead):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.kept: dict[torch.Size, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        if x.shape not in self.kept:
            self.kept[x.shape] = super().forward(x)
        return self.kept[x.shape]


@fault("calls-are-counted", PURE, symptom="evaluating a model changes its checkpoint")
class CallsAreCounted(PlainMultiHead):
    calls: Tensor

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(x)


@fault(
    "training-rescales-the-weights",
    PURE,
    symptom="a forward in training changes the keys' weights without an optimizer",
    family="causal",
)
class TrainingRescalesTheWeights(PlainCausal):
    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        projected = super().project(x)
        if self.training:
            self.W_key.weight.data.mul_(0.5)
        return projected


@fault("third-call-is-unmasked", PURE, symptom="right until the buffers have warmed up")
class ThirdCallIsUnmasked(PlainMultiHead):
    calls = 0

    def hide(self, scores: Tensor) -> Tensor:
        self.calls += 1
        return scores if self.calls > 2 else super().hide(scores)


@fault(
    "buffer-appears-at-the-first-call",
    PURE,
    SAVED,
    symptom="a checkpoint of a model that has run does not load into one that has not",
    source="karpathy/nanoGPT d995c22, c3f2548 (a buffer on one path only)",
)
class BufferAppearsAtTheFirstCall(PlainMultiHead):
    def hide(self, scores: Tensor) -> Tensor:
        if "bias" not in self._buffers:
            self.register_buffer("bias", torch.zeros(scores.shape[-1]))
        return super().hide(scores)


@fault(
    "head-dim-kept-with-the-class",
    SHARED,
    symptom="a second model with other heads changes the scale of the first",
)
class HeadDimKeptWithTheClass(PlainMultiHead):
    shared: ClassVar[float] = 1.0

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        type(self).shared = self.head_dim**0.5

    def scale(self, scores: Tensor) -> Tensor:
        return scores / self.shared


@lru_cache
def scale_for(tokens: int) -> list[float]:
    """A place for the scale of sequences of that many tokens, made once for the process."""
    return []


@fault(
    "scale-cached-by-length",
    "weights/log-odds-are-scaled-score-differences",
    symptom="whoever first attends to that many tokens settles the scale for all others",
    source="ml-explore/mlx 00794c4 (#2053, a kernel whose cache key lacks is_causal)",
)
class ScaleCachedByLength(PlainMultiHead):
    def scale(self, scores: Tensor) -> Tensor:
        kept = scale_for(scores.shape[-1])
        if not kept:
            kept.append(self.head_dim**0.5)
        return scores / kept[0]


@lru_cache(maxsize=64)
def value_layer(d_in: int, d_out: int, bias: bool) -> nn.Linear:
    """One layer for all who ask for the same sizes."""
    return nn.Linear(d_in, d_out, bias=bias)


@fault(
    "layers-cached-by-size",
    SHARED,
    symptom="two models of the same sizes have the values of the one that was loaded last",
    family="causal",
)
class LayersCachedBySize(PlainCausal):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.W_value = value_layer(self.d_in, self.d_out, self.W_value.bias is not None)


@fault(
    "value-bias-not-saved",
    SAVED,
    "shape/every-parameter-is-registered",
    symptom="a loaded model lacks the biases of its values",
)
class ValueBiasNotSaved(PlainMultiHead):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if self.W_value.bias is not None:
            bias = self.W_value.bias.detach()
            del self.W_value.bias
            self.W_value.register_buffer("bias", bias, persistent=False)


@fault(
    "square-weights-turned-while-loading",
    SAVED,
    symptom="a loaded model is right unless d_in = d_out",
    source="rasbt/LLMs-from-scratch#893 27d52d6 (in use)",
)
class SquareWeightsTurnedWhileLoading(PlainMultiHead):
    def load_state_dict(self, state_dict: Any, *args: Any, **options: Any) -> Any:
        turned = {
            name: entry.T if name == "W_query.weight" and self.d_in == self.d_out else entry
            for name, entry in state_dict.items()
        }
        return super().load_state_dict(turned, *args, **options)


@fault(
    "out-projection-not-loaded",
    SAVED,
    symptom="a loaded model starts its output projection anew; strict=False hides it",
)
class OutProjectionNotLoaded(PlainMultiHead):
    def load_state_dict(self, state_dict: Any, *args: Any, **options: Any) -> Any:
        known = {n: entry for n, entry in state_dict.items() if not n.startswith("out_proj")}
        return super().load_state_dict(known, strict=False)


@fault(
    "saved-under-another-name",
    SAVED,
    symptom="load_state_dict raises on its own state_dict",
    family="causal",
)
class SavedUnderAnotherName(PlainCausal):
    def state_dict(self, *args: Any, **options: Any) -> Any:
        saved = super().state_dict(*args, **options)
        return {name.replace("W_key", "W_keys"): entry for name, entry in saved.items()}


@fault(
    "copy-shares-its-parameters",
    COPIED,
    symptom="a stack of copied layers is one layer",
)
class CopyShares(PlainMultiHead):
    def __deepcopy__(self, memo: dict[int, Any]) -> CopyShares:
        twin = type(self).__new__(type(self))
        twin.__dict__.update(self.__dict__)
        return twin


@fault(
    "copy-loses-its-mask",
    COPIED,
    PICKLED,
    symptom="a copied module attends to the future",
    source="facebookresearch/xformers#1185 (after .to)",
)
class CopyLosesItsMask(PlainMultiHead):
    copied = False

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self.copied = True

    def hide(self, scores: Tensor) -> Tensor:
        return scores if self.copied else super().hide(scores)


@fault(
    "a-function-made-on-the-spot", PICKLED, symptom="the module cannot be sent to another process"
)
class AFunctionMadeOnTheSpot(PlainMultiHead):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        root = self.head_dim**0.5
        self.divide: Callable[[Tensor], Tensor] = lambda scores: scores / root

    def scale(self, scores: Tensor) -> Tensor:
        return self.divide(scores)


@fault(
    "pickled-without-its-weights",
    PICKLED,
    symptom="another process receives a module with weights of its own",
    family="causal",
)
class PickledWithoutItsWeights(PlainCausal):
    def __reduce__(self) -> tuple[Any, ...]:
        bias = self.W_query.bias is not None
        sizes = (self.d_in, self.d_out, self.context_length, self.dropout.p, bias)
        return (type(self), sizes)


@fault(
    "dropout-out-of-reach",
    MODES,
    symptom="model.eval() leaves dropout on: it sits in a plain list",
    source="karpathy/nanoGPT 7399dfe (#240, by another way)",
)
class DropoutOutOfReach(PlainMultiHead):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.layers = [self.dropout]
        del self.dropout

    def drop(self, weights: Tensor) -> Tensor:
        dropped: Tensor = self.layers[0](weights)
        return dropped


@fault("mode-of-the-first-call-stays", MODES, symptom="a model evaluated first never drops")
class ModeOfTheFirstCallStays(PlainMultiHead):
    dropping: bool | None = None

    def drop(self, weights: Tensor) -> Tensor:
        if self.dropping is None:
            self.dropping = self.training
        return nn.functional.dropout(weights, self.dropout.p, self.dropping)


@fault(
    "train-after-eval-has-no-effect",
    MODES,
    symptom="after the first validation dropout is off",
    family="causal",
)
class TrainAfterEvalHasNoEffect(PlainCausal):
    evaluated = False

    def drop(self, weights: Tensor) -> Tensor:
        self.evaluated = self.evaluated or not self.training
        return weights if self.evaluated else super().drop(weights)


@fault(
    "train-does-not-reach-the-parts",
    MODES,
    symptom="an overridden train() forgets the layers within",
)
class TrainDoesNotReachTheParts(PlainMultiHead):
    def train(self, mode: bool = True) -> TrainDoesNotReachTheParts:
        self.training = mode
        return self


@fault(
    "mask-lost-in-deferred-construction",
    DEFERRED,
    symptom="loaded by way of the meta device, the model sees the future",
    source="mosaicml/examples#38",
)
class MaskLostInDeferredConstruction(PlainMultiHead):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.register_buffer("mask", self.mask, persistent=False)


@fault(
    "scale-lost-in-deferred-construction",
    DEFERRED,
    symptom="loaded by way of the meta device, every token is the mean of its past",
)
class ScaleLostInDeferredConstruction(PlainMultiHead):
    root: Tensor

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.register_buffer(
            "root", torch.tensor(self.head_dim**-0.5, dtype=torch.float64), persistent=False
        )

    def scale(self, scores: Tensor) -> Tensor:
        return scores * self.root.to(scores.dtype)
