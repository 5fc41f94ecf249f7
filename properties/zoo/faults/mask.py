"""Faults of the causal mask."""

from __future__ import annotations

import torch
from torch import Tensor

from properties.zoo.faults import fault
from properties.zoo.faults.plain import PlainCausal, PlainMultiHead, PlainSelf

LEAK = "causality/future-does-not-change-past"
PREFIX = "causality/prefix-gives-prefix"
ZERO = "weights/hidden-exactly-zero"
HUGE = "causality/huge-future-stays-out"
LOW = "causality/low-scores-leave-the-future-hidden"
END = "causality/future-at-the-end-of-the-range-stays-out"
LOWEST = "causality/lowest-scores-leave-the-future-hidden"
SEEN = "causality/every-past-token-is-seen"
FIRST = "causality/first-token-returns-its-own-value"
SUM = "weights/rows-sum-to-one"
EQUAL = "weights/equal-scores-give-equal-weights"
RENORMALISED = "weights/renormalised-mask-equals-minus-infinity-mask"
VALUE = "oracle/output-within-bound"


@fault(
    "mask-hides-the-diagonal",
    FIRST,
    symptom="a token cannot see itself, and the first one sees nothing: NaN in the first row",
    source="pytorch/tutorials#2250, RVC-Boss/GPT-SoVITS#965 (both disputed)",
)
class MaskHidesTheDiagonal(PlainMultiHead):
    def hidden(self, tokens: int) -> Tensor:
        return torch.ones(tokens, tokens, dtype=torch.bool).triu(diagonal=0)


@fault(
    "mask-hides-the-diagonal-but-the-first",
    SEEN,
    symptom="every token but the first is told by its past alone; no NaN gives it away",
)
class MaskHidesTheDiagonalButTheFirst(PlainMultiHead):
    def hidden(self, tokens: int) -> Tensor:
        mask = torch.ones(tokens, tokens, dtype=torch.bool).triu(diagonal=0)
        mask[:1, :1] = False
        return mask


@fault(
    "mask-shows-the-next-token",
    LEAK,
    PREFIX,
    ZERO,
    FIRST,
    EQUAL,
    HUGE,
    RENORMALISED,
    "causality/future-gradient-is-zero",
    symptom="the training loss is too good, generation is poor",
    source="flashinfer-ai/flashinfer#348",
)
class MaskShowsTheNextToken(PlainMultiHead):
    def hidden(self, tokens: int) -> Tensor:
        return torch.ones(tokens, tokens, dtype=torch.bool).triu(diagonal=2)


@fault(
    "mask-result-discarded",
    LEAK,
    PREFIX,
    ZERO,
    symptom="masked_fill without an underscore: nothing is hidden",
    source="lucidrains/flamingo-pytorch#10",
)
class MaskResultDiscarded(PlainMultiHead):
    def hide(self, scores: Tensor) -> Tensor:
        scores.masked_fill(self.hidden(scores.shape[-1]), -torch.inf)
        return scores


@fault(
    "mask-true-taken-for-keep",
    LEAK,
    symptom="every token sees the future alone, and the last one nothing",
    source="rasbt/LLMs-from-scratch#1061, allenai/OLMo 6c4b8e1",
)
class MaskTrueTakenForKeep(PlainMultiHead):
    def hide(self, scores: Tensor) -> Tensor:
        return scores.masked_fill(~self.hidden(scores.shape[-1]), -torch.inf)


@fault(
    "mask-of-the-wrong-triangle",
    LEAK,
    FIRST,
    symptom="every token sees itself and the future; the last one sees itself alone",
    family="causal",
)
class MaskOfTheWrongTriangle(PlainCausal):
    def hidden(self, tokens: int) -> Tensor:
        return torch.ones(tokens, tokens, dtype=torch.bool).tril(diagonal=-1)


@fault(
    "mask-fills-with-a-tiny-number",
    LEAK,
    ZERO,
    symptom="-1e-7 was written where -1e7 was meant: hidden scores become zero, not low",
    source="EleutherAI/gpt-neox 102d09b, hyunwoongko/transformer 9c5515d",
)
class MaskFillsWithATinyNumber(PlainMultiHead):
    def hide(self, scores: Tensor) -> Tensor:
        return scores.masked_fill(self.hidden(scores.shape[-1]), -1e-7)


@fault(
    "mask-times-scores",
    LEAK,
    ZERO,
    symptom="a hidden score of zero is a score like any other",
    source="georg-wolflein/good-features#1",
)
class MaskTimesScores(PlainMultiHead):
    def hide(self, scores: Tensor) -> Tensor:
        return scores * ~self.hidden(scores.shape[-1])


@fault(
    "mask-adds-minus-one",
    ZERO,
    HUGE,
    symptom="a 0/1 mask is subtracted as if it were a bias",
    source="pytorch/pytorch#90534 (a float mask is added)",
)
class MaskAddsMinusOne(PlainMultiHead):
    def hide(self, scores: Tensor) -> Tensor:
        return scores - self.hidden(scores.shape[-1]).to(scores.dtype)


@fault(
    "mask-adds-minus-one-hundred",
    ZERO,
    HUGE,
    LOW,
    "causality/nan-future-stays-out",
    symptom="the future leaks by 1e-44, and by more where scores are large",
)
class MaskAddsMinusOneHundred(PlainMultiHead):
    def hide(self, scores: Tensor) -> Tensor:
        return scores - 100.0 * self.hidden(scores.shape[-1]).to(scores.dtype)


@fault(
    "mask-adds-minus-ten-thousand",
    END,
    LOWEST,
    symptom="right until a future score exceeds the others by ten thousand",
    source="bentrevett/pytorch-seq2seq#191",
)
class MaskAddsMinusTenThousand(PlainMultiHead):
    def hide(self, scores: Tensor) -> Tensor:
        return scores - 1e4 * self.hidden(scores.shape[-1]).to(scores.dtype)


@fault(
    "mask-fills-with-minus-ten-thousand",
    LOWEST,
    symptom="right until all scores that are seen are below -10000: then the future takes the weight",
    source="huggingface/transformers#17121, #15199",
)
class MaskFillsWithMinusTenThousand(PlainMultiHead):
    def hide(self, scores: Tensor) -> Tensor:
        return scores.masked_fill(self.hidden(scores.shape[-1]), -1e4)


@fault(
    "mask-adds-minus-a-billion",
    END,
    symptom="right until a future score exceeds a billion; in float16 the constant overflows",
    source="facebookresearch/fairseq#3575, NVIDIA/apex#1105",
    family="causal",
)
class MaskAddsMinusABillion(PlainCausal):
    def hide(self, scores: Tensor) -> Tensor:
        least = max(-1e9, torch.finfo(scores.dtype).min)
        return scores + least * self.hidden(scores.shape[-1]).to(scores.dtype)


@fault(
    "mask-after-softmax",
    SUM,
    EQUAL,
    RENORMALISED,
    symptom="rows sum to less than one, early tokens most; contexts shrink",
    source="huggingface/pytorch-image-models#2236 4cca568",
)
class MaskAfterSoftmax(PlainMultiHead):
    def hide(self, scores: Tensor) -> Tensor:
        return scores

    def normalise(self, scores: Tensor) -> Tensor:
        weights = torch.softmax(scores, dim=-1)
        return weights.masked_fill(self.hidden(scores.shape[-1]), 0.0)


@fault(
    "mask-after-softmax-renormalised",
    HUGE,
    symptom="right until one future score dominates: then 0/0",
)
class MaskAfterSoftmaxRenormalised(MaskAfterSoftmax):
    def normalise(self, scores: Tensor) -> Tensor:
        weights = super().normalise(scores)
        return weights / weights.sum(dim=-1, keepdim=True)


@fault(
    "mask-after-softmax-with-a-guard",
    HUGE,
    RENORMALISED,
    symptom="the same without NaN: where the future dominates, rows sum to nearly nothing",
)
class MaskAfterSoftmaxWithAGuard(MaskAfterSoftmax):
    def normalise(self, scores: Tensor) -> Tensor:
        weights = super().normalise(scores)
        return weights / (weights.sum(dim=-1, keepdim=True) + 1e-6)


@fault(
    "mask-aligned-to-the-bottom",
    PREFIX,
    symptom="below context_length tokens see as far ahead as there is room",
    source="ml-explore/mlx#2835, pytorch/executorch#22426",
)
class MaskAlignedToTheBottom(PlainMultiHead):
    def hidden(self, tokens: int) -> Tensor:
        mask: Tensor = self.mask
        return mask[-tokens:, :tokens]


@fault(
    "mask-only-in-training",
    LEAK,
    symptom="training is right, evaluation sees the future",
)
class MaskOnlyInTraining(PlainMultiHead):
    def hide(self, scores: Tensor) -> Tensor:
        return super().hide(scores) if self.training else scores


@fault(
    "mask-needs-dropout",
    LEAK,
    symptom="is_causal is set on one of two code paths",
    source="facebookresearch/xformers#103 1328ba7 (the mask needed another argument)",
    family="causal",
    apart="the future is seen, and what an eval output is hangs on the probability of dropout",
)
class MaskNeedsDropout(PlainCausal):
    def hide(self, scores: Tensor) -> Tensor:
        return super().hide(scores) if self.dropout.p else scores


@fault(
    "mask-gone-after-the-first-call",
    PREFIX,
    "state/forward-is-pure",
    symptom="the first prompt is right, those after it are not",
)
class MaskGoneAfterTheFirstCall(PlainMultiHead):
    called = False

    def hide(self, scores: Tensor) -> Tensor:
        called, self.called = self.called, True
        return scores if called else super().hide(scores)


@fault(
    "mask-of-the-first-head-alone",
    LEAK,
    "heads/permuting-heads-permutes-blocks",
    ZERO,
    symptom="a broadcast along the wrong axis: all other heads see the future",
)
class MaskOfTheFirstHeadAlone(PlainMultiHead):
    def hide(self, scores: Tensor) -> Tensor:
        return torch.cat([super().hide(scores[:, :1]), scores[:, 1:]], dim=1)


@fault(
    "mask-of-the-first-item-alone",
    LEAK,
    "symmetry/batch-permutation",
    "symmetry/batch-independence",
    symptom="with batches of one, as in tests, all is well",
    source="lsdefine/attention-is-all-you-need-keras#36 (masks of other items)",
)
class MaskOfTheFirstItemAlone(PlainMultiHead):
    def hide(self, scores: Tensor) -> Tensor:
        return torch.cat([super().hide(scores[:1]), scores[1:]])


@fault(
    "mask-absent-at-full-context",
    ZERO,
    symptom="only a prompt of exactly context_length tokens sees the future",
)
class MaskAbsentAtFullContext(PlainMultiHead):
    def hide(self, scores: Tensor) -> Tensor:
        return scores if scores.shape[-1] == self.context_length else super().hide(scores)


@fault(
    "mask-absent-below-full-context",
    PREFIX,
    "causality/future-gradient-is-zero",
    symptom="tests with full windows pass",
)
class MaskAbsentBelowFullContext(PlainMultiHead):
    def hide(self, scores: Tensor) -> Tensor:
        return scores if scores.shape[-1] < self.context_length else super().hide(scores)


@fault(
    "mask-absent-for-two-tokens",
    PREFIX,
    symptom="only the second step of a generation is wrong",
)
class MaskAbsentForTwoTokens(PlainMultiHead):
    def hide(self, scores: Tensor) -> Tensor:
        return scores if scores.shape[-1] == 2 else super().hide(scores)


@fault(
    "mask-absent-for-even-lengths",
    PREFIX,
    VALUE,
    symptom="half of all lengths see the future",
    source="Dao-AILab/flash-attention a4f148b (keys past a block's edge)",
    family="causal",
)
class MaskAbsentForEvenLengths(PlainCausal):
    def hide(self, scores: Tensor) -> Tensor:
        return super().hide(scores) if scores.shape[-1] % 2 else scores


@fault(
    "mask-absent-for-odd-heads",
    LEAK,
    symptom="models with 12 or 16 heads are right",
)
class MaskAbsentForOddHeads(PlainMultiHead):
    def hide(self, scores: Tensor) -> Tensor:
        return scores if self.num_heads % 2 else super().hide(scores)


@fault(
    "mask-absent-where-batch-equals-tokens",
    PREFIX,
    symptom="a mask of (B, T) is taken for one of (T, T)",
    source="keras-team/keras#21595 79413bc",
)
class MaskAbsentWhereBatchEqualsTokens(PlainMultiHead):
    def hide(self, scores: Tensor) -> Tensor:
        return scores if scores.shape[0] == scores.shape[-1] else super().hide(scores)


@fault(
    "mask-absent-with-bias",
    LEAK,
    symptom="only with qkv_bias=True the future is seen",
)
class MaskAbsentWithBias(PlainMultiHead):
    def hide(self, scores: Tensor) -> Tensor:
        return super().hide(scores) if self.W_query.bias is None else scores


@fault(
    "mask-absent-in-half-precision",
    LEAK,
    symptom="the float32 tests pass; the bfloat16 kernel ignores the mask",
    source="pytorch/pytorch#108503",
)
class MaskAbsentInHalfPrecision(PlainMultiHead):
    def hide(self, scores: Tensor) -> Tensor:
        half = scores.dtype in (torch.bfloat16, torch.float16)
        return scores if half else super().hide(scores)


@fault(
    "mask-of-values-alone",
    "causality/future-gradient-is-zero",
    symptom="the output is right; training learns from the future",
)
class MaskOfValuesAlone(PlainMultiHead):
    def normalise(self, scores: Tensor) -> Tensor:
        weights = torch.softmax(scores, dim=-1)
        future = self.hidden(scores.shape[-1]) * self.leaked
        return weights + (future - future.detach())

    def hide(self, scores: Tensor) -> Tensor:
        self.leaked = torch.softmax(scores, dim=-1)
        return super().hide(scores)


@fault(
    "window-of-eight",
    SEEN,
    symptom="prompts of more than eight tokens forget their beginning",
    source="huggingface/transformers#29623 (windows of another size)",
)
class WindowOfEight(PlainMultiHead):
    def hidden(self, tokens: int) -> Tensor:
        everything = torch.ones(tokens, tokens, dtype=torch.bool)
        return everything.triu(diagonal=1) | everything.tril(diagonal=-8)


@fault(
    "beginning-evicted",
    SEEN,
    symptom="from the tenth token on the first one is not seen any more",
    source="rasbt/LLMs-from-scratch#1013 28c65cd (keys trimmed before the scores)",
    family="causal",
)
class BeginningEvicted(PlainCausal):
    def hidden(self, tokens: int) -> Tensor:
        mask = super().hidden(tokens).clone()
        mask[10:, :1] = True
        return mask


@fault(
    "threshold-before-the-mask",
    LEAK,
    SEEN,
    symptom="of the past only what the best scores of the future leave is seen",
    source="lucidrains/x-transformers d1f5d6b",
)
class ThresholdBeforeTheMask(PlainMultiHead):
    def hide(self, scores: Tensor) -> Tensor:
        best = scores.topk(min(3, scores.shape[-1]), dim=-1).values
        own = torch.diagonal(scores, dim1=-2, dim2=-1)[..., None]
        return (
            super()
            .hide(scores)
            .masked_fill(scores < torch.minimum(best[..., -1:], own), -torch.inf)
        )


@fault(
    "self-hides-the-future",
    SEEN,
    "symmetry/token-permutation",
    symptom="self-attention without a mask, but one was left in",
    family="self",
)
class SelfHidesTheFuture(PlainSelf):
    def scale(self, scores: Tensor) -> Tensor:
        future = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(diagonal=1)
        return super().scale(scores).masked_fill(future, -torch.inf)


@fault(
    "mask-forgotten-where-there-is-dropout",
    "causality/future-stays-out-at-any-dropout",
    "dropout/inert-in-eval",
    symptom="a fast path is taken at p = 0 alone; the other one, in eval too, has no mask",
)
class MaskForgottenWhereThereIsDropout(PlainMultiHead):
    def hide(self, scores: Tensor) -> Tensor:
        return scores if not self.training and self.dropout.p > 0 else super().hide(scores)
