"""Faults of shape: axes, lengths, parameters."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from properties.zoo.faults import fault
from properties.zoo.faults.plain import PlainCausal, PlainMultiHead, PlainSelf, PlainWrapper

SHAPE = "shape/output-shape"
AXES = "shape/batch-of-one-and-one-token-keep-their-axes"
LENGTH = "shape/any-length-up-to-context"
COUNT = "shape/parameter-shapes-and-count"
REGISTERED = "shape/every-parameter-is-registered"


@fault(
    "squeeze-of-the-output",
    AXES,
    LENGTH,
    symptom="a batch of one, or a single token while generating, loses an axis",
    apart="a batch of one cannot be asked at all, a single token loses another axis",
)
class SqueezeOfTheOutput(PlainMultiHead):
    def finish(self, context: Tensor) -> Tensor:
        return super().finish(context).squeeze()


@fault(
    "squeeze-of-the-batch",
    AXES,
    symptom="a batch of one item comes out without its batch axis",
    family="causal",
)
class SqueezeOfTheBatch(PlainCausal):
    def finish(self, context: Tensor) -> Tensor:
        return context.squeeze(0)


@fault("squeeze-of-the-token", SHAPE, symptom="generating token by token fails in the next layer")
class SqueezeOfTheToken(PlainMultiHead):
    def finish(self, context: Tensor) -> Tensor:
        return super().finish(context).squeeze(1)


@fault(
    "one-token-loses-its-axis-in-a-batch-of-one",
    AXES,
    symptom="only a single prompt of a single token is returned as a vector",
    family="wrapper",
)
class OneTokenLosesItsAxis(PlainWrapper):
    def join(self, parts: list[Tensor]) -> Tensor:
        joined = super().join(parts)
        return joined[0, 0] if joined.shape[:2] == (1, 1) else joined


@fault(
    "mask-not-cut",
    SHAPE,
    symptom="only inputs of exactly context_length tokens run",
    source="facebookresearch/xformers#66 4b77472, mlfoundations/open_clip 8fa78c2",
)
class MaskNotCut(PlainMultiHead):
    def hidden(self, tokens: int) -> Tensor:
        mask: Tensor = self.mask
        return mask


@fault(
    "mask-cut-for-good",
    LENGTH,
    "state/forward-is-pure",
    symptom="after a short prompt a longer one fails",
)
class MaskCutForGood(PlainMultiHead):
    def hidden(self, tokens: int) -> Tensor:
        self.mask = self.mask[:tokens, :tokens]
        return super().hidden(tokens)


@fault(
    "mask-kept-from-the-first-call",
    LENGTH,
    symptom="a second prompt that is longer than the first one fails",
    source="lucidrains/x-transformers 74f241d (a position bias)",
)
class MaskKeptFromTheFirstCall(PlainMultiHead):
    kept: Tensor | None = None

    def hidden(self, tokens: int) -> Tensor:
        if self.kept is None:
            self.kept = super().hidden(tokens)
        return self.kept[:tokens, :tokens]


@fault(
    "mask-kept-and-cut-at-the-wrong-end",
    LENGTH,
    symptom="after a long prompt the tokens of a short one see the future",
    source="lucidrains/x-transformers fbbc159 (a position bias)",
)
class MaskKeptAndCutAtTheWrongEnd(PlainMultiHead):
    kept: Tensor | None = None

    def hidden(self, tokens: int) -> Tensor:
        if self.kept is None or len(self.kept) < tokens:
            self.kept = super().hidden(tokens)
        return self.kept[-tokens:, :tokens]


@fault(
    "full-length-only-at-first",
    LENGTH,
    symptom="a prompt of context_length tokens runs, but not after another",
    family="causal",
)
class FullLengthOnlyAtFirst(PlainCausal):
    called = False

    def validate(self, x: Tensor) -> None:
        super().validate(x)
        if self.called and x.shape[1] == self.context_length:
            raise ValueError(f"{x.shape[1]} tokens are too many")
        self.called = True


@fault(
    "qkv-bias-ignored",
    COUNT,
    "argument/qkv-bias-has-effect",
    symptom="qkv_bias=True changes nothing; checkpoints with biases do not load",
    source="meta-pytorch/torchtune#2678 dedc209",
)
class QkvBiasIgnored(PlainMultiHead):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        for layer in (self.W_query, self.W_key, self.W_value):
            layer.register_parameter("bias", None)


@fault(
    "qkv-bias-always",
    COUNT,
    symptom="qkv_bias=False still trains biases",
)
class QkvBiasAlways(PlainMultiHead):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        for layer in (self.W_query, self.W_key, self.W_value):
            if layer.bias is None:
                layer.bias = nn.Parameter(torch.zeros(self.d_out))


@fault(
    "mask-is-a-parameter",
    COUNT,
    symptom="the mask is counted, and decays with the weights",
)
class MaskIsAParameter(PlainMultiHead):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        mask = self.mask.to(torch.get_default_dtype())
        del self.mask
        self.mask = nn.Parameter(mask, requires_grad=False)


@fault(
    "layer-left-over",
    COUNT,
    symptom="parameters without gradient; distributed training complains of unused ones",
    source="lucidrains/x-transformers 6cb3299",
)
class LayerLeftOver(PlainMultiHead):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.talk = nn.Linear(self.num_heads, self.num_heads, bias=False)


@fault(
    "query-and-key-share-a-matrix",
    COUNT,
    symptom="scores are symmetric; a quarter of the parameters is missing",
    family="causal",
)
class QueryAndKeyShareAMatrix(PlainCausal):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.W_key = self.W_query


def untracked(layer: nn.Linear) -> Tensor:
    """The layer's weight, which it keeps as a plain tensor from now on."""
    weight = layer.weight.detach()
    del layer.weight
    return weight


@fault(
    "key-weights-are-a-plain-tensor",
    REGISTERED,
    COUNT,
    "state/state-dict-round-trip",
    symptom="the keys are not trained, not saved and not moved to another device",
)
class KeyWeightsAreAPlainTensor(PlainMultiHead):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.W_key.weight = untracked(self.W_key)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        self.W_key.weight = self.W_key.weight.to(x.dtype)
        return super().project(x)


@fault(
    "value-weights-are-a-buffer",
    REGISTERED,
    COUNT,
    symptom="the values are saved but never trained",
)
class ValueWeightsAreABuffer(PlainMultiHead):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.W_value.register_buffer("weight", untracked(self.W_value))


@fault(
    "no-empty-batch",
    "shape/empty-batch",
    symptom="a view with -1 cannot tell the tokens of no item: an empty last batch fails",
)
class NoEmptyBatch(PlainMultiHead):
    def split(self, x: Tensor) -> Tensor:
        return x.view(x.shape[0], -1, self.num_heads, self.head_dim).transpose(1, 2)


@fault(
    "an-empty-batch-becomes-one",
    "shape/empty-batch",
    symptom="an empty last batch comes out as one item of zeros",
)
class AnEmptyBatchBecomesOne(PlainMultiHead):
    def finish(self, context: Tensor) -> Tensor:
        output = super().finish(context)
        return output if len(output) else output.new_zeros(1, *output.shape[1:])


@fault(
    "padded-to-the-context-length",
    SHAPE,
    symptom="every output is as long as the context: the padding is not cut off",
)
class PaddedToTheContextLength(PlainMultiHead):
    def finish(self, context: Tensor) -> Tensor:
        output = super().finish(context)
        missing = self.context_length - output.shape[1]
        return nn.functional.pad(output, (0, 0, 0, missing))


@fault(
    "one-token-alone-becomes-a-vector",
    "shape/unbatched-input",
    symptom="a sequence (1, d_in) comes out as (d_out,)",
    family="self",
)
class OneTokenAloneBecomesAVector(PlainSelf):
    def finish(self, context: Tensor) -> Tensor:
        return context.squeeze(0) if context.dim() == 2 else context


@fault(
    "two-tokens-are-taken-for-a-batch",
    "shape/unbatched-input",
    symptom="a sequence of two tokens is attended to as two sequences of one",
    family="self",
)
class TwoTokensAreTakenForABatch(PlainSelf):
    def forward(self, x: Tensor) -> Tensor:
        if x.dim() == 2 and len(x) == 2:
            return super().forward(x[:, None])[:, 0]
        return super().forward(x)


@fault(
    "key-is-query-at-768",
    "shape/gpt-2-size",
    symptom="GPT-2's weights do not load, smaller models are right",
)
class KeyIsQueryAt768(PlainMultiHead):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if self.d_out == 768:
            self.W_key = self.W_query
