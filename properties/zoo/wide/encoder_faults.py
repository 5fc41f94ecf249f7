"""Modules of an encoder that are wrong."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from properties.zoo.wide import held
from properties.zoo.wide.encoder import PlainEncoder

wrong = partial(held, kind="encoder", mask="attends", masks="keys, pairs", empty="uniform")


@wrong(
    "encoder-padding-acts-on-queries",
    area="mask",
    named="padding acts on queries",
    how="padding",
    symptom="real tokens see the padding, padding sees everything alike",
    source="lsdefine/attention-is-all-you-need-keras#16",
)
class EncoderPaddingActsOnQueries(PlainEncoder):
    def widen(self, mask: Tensor) -> Tensor:
        return mask[:, None, :, None] if mask.dim() == 2 else super().widen(mask)


@wrong(
    "encoder-padding-falls-on-queries-of-all",
    area="mask",
    named="items of the mask fall on queries",
    how="padding, as many items as tokens",
    symptom="(1, 1, B, T): silent where B = T, an error elsewhere",
    source="keras-team/keras#21595",
)
class PaddingFallsOnQueriesOfAll(PlainEncoder):
    def widen(self, mask: Tensor) -> Tensor:
        return mask[None, None] if mask.dim() == 2 else super().widen(mask)


@wrong(
    "encoder-mask-of-items-falls-on-heads",
    area="mask",
    named="mask of items falls on heads",
    how="mask of pairs, as many items as heads",
    symptom="(B, T, T) meets (B, H, T, T): silent where B = H",
    source="keras-team/keras#21595",
)
class EncoderMaskOfItemsFallsOnHeads(PlainEncoder):
    def widen(self, mask: Tensor) -> Tensor:
        return mask if mask.dim() == 3 else super().widen(mask)


@wrong(
    "encoder-fill-of-nothing",
    area="mask",
    named="a hidden score is zero",
    how="padding",
    symptom="-1e-12 was meant to be -1e12: a hidden key has a score like others",
    source="hyunwoongko/transformer 9c5515d, EleutherAI/gpt-neox 102d09b",
)
class FillOfNothing(PlainEncoder):
    def hide(self, scores: Tensor, seen: Tensor | None) -> Tensor:
        return scores if seen is None else scores.masked_fill(~seen, -1e-12)


@wrong(
    "encoder-mask-discarded",
    area="mask",
    named="mask ignored",
    how="padding",
    symptom="masked_fill without its underscore: the result is thrown away",
    source="lucidrains/flamingo-pytorch#10, opendilab/DI-engine#333",
)
class MaskDiscarded(PlainEncoder):
    def hide(self, scores: Tensor, seen: Tensor | None) -> Tensor:
        if seen is not None:
            scores.masked_fill(~seen, -torch.inf)
        return scores


@wrong(
    "encoder-mask-multiplied-into-scores",
    area="mask",
    named="a hidden score is zero",
    how="padding",
    symptom="a hidden key has a score of zero, which is a score like others",
    source="georg-wolflein/good-features#1",
)
class MaskMultipliedIntoScores(PlainEncoder):
    def hide(self, scores: Tensor, seen: Tensor | None) -> Tensor:
        return scores if seen is None else scores * seen


@wrong(
    "encoder-mask-after-the-softmax",
    area="mask",
    named="mask after the softmax",
    how="padding",
    symptom="rows sum to less than one, the more padding the less",
    source="huggingface/pytorch-image-models#2236",
)
class MaskAfterTheSoftmax(PlainEncoder):
    def weigh(self, scores: Tensor, seen: Tensor | None) -> Tensor:
        weights = scores.softmax(dim=-1)
        return weights if seen is None else weights * seen


@wrong(
    "encoder-mask-added-as-a-number",
    area="mask",
    named="mask added as a number",
    how="padding",
    symptom="padding is one less likely and takes part",
    source="pytorch/pytorch#90534",
)
class EncoderMaskAddedAsANumber(PlainEncoder):
    def hide(self, scores: Tensor, seen: Tensor | None) -> Tensor:
        return scores if seen is None else scores + seen


@wrong(
    "encoder-true-hides-in-pairs",
    area="mask",
    named="True hides",
    how="mask of pairs",
    symptom="a mask of keys shows where True, a mask of pairs hides where True",
)
class TrueHidesInPairs(PlainEncoder):
    def widen(self, mask: Tensor) -> Tensor:
        return super().widen(mask.bool().logical_not() if mask.dim() == 3 else mask)


@wrong(
    "encoder-mask-transposed",
    area="mask",
    named="mask transposed",
    how="mask of pairs",
    symptom="silent for masks of keys and for symmetric ones",
)
class MaskTransposed(PlainEncoder):
    def widen(self, mask: Tensor) -> Tensor:
        return super().widen(mask.mT if mask.dim() == 3 else mask)


@wrong(
    "encoder-small-fill",
    area="mask",
    named="fill of -1e4 leaks",
    how="loud hidden key",
    symptom="a hidden key with a large score takes the weight",
    source="bentrevett/pytorch-seq2seq#191",
)
class EncoderSmallFill(PlainEncoder):
    def hide(self, scores: Tensor, seen: Tensor | None) -> Tensor:
        return scores if seen is None else scores + (~seen).to(scores) * -1e4


@wrong(
    "encoder-mask-of-the-first-item",
    area="mask",
    named="mask of the first item for all",
    how="padding",
    symptom="every item of a batch is padded like the first",
)
class EncoderMaskOfTheFirstItem(PlainEncoder):
    def widen(self, mask: Tensor) -> Tensor:
        return super().widen(mask)[:1]


@wrong(
    "encoder-left-causal",
    area="mask",
    named="causal where nothing is hidden",
    how="plain",
    symptom="an encoder made of a decoder: tokens do not see what follows",
    source="vllm-project/vllm#40106, allenai/OLMo-core#726",
    fits="causal",
)
class LeftCausal(PlainEncoder):
    def hide(self, scores: Tensor, seen: Tensor | None) -> Tensor:
        past = torch.ones_like(scores, dtype=torch.bool).tril()
        return super().hide(scores, past if seen is None else seen & past)


@wrong(
    "encoder-causal-beside-a-mask",
    area="paths",
    named="causal beside a mask",
    how="padding",
    symptom="full without a mask; given one of ones alone, tokens do not see what follows",
)
class CausalBesideAMask(PlainEncoder):
    def hide(self, scores: Tensor, seen: Tensor | None) -> Tensor:
        return super().hide(
            scores, None if seen is None else seen & torch.ones_like(scores).tril().bool()
        )
