"""Causal modules that take a mask and are wrong."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from properties.zoo.wide import held
from properties.zoo.wide.masked import PlainMasked

wrong = partial(held, kind="masked", mask="attends", masks="keys, pairs", empty="uniform")


@wrong(
    "masked-mask-replaces-causal",
    area="mask",
    named="mask replaces causal",
    how="padding",
    symptom="causal without a mask; with padding every token sees the future",
    source="huggingface/candle#3632",
)
class MaskReplacesCausal(PlainMasked):
    def hide(self, scores: Tensor, future: Tensor, seen: Tensor | None) -> Tensor:
        return super().hide(scores, future if seen is None else torch.zeros_like(future), seen)


@wrong(
    "masked-causal-beside-a-mask-alone",
    area="mask",
    named="causal beside a mask alone",
    how="plain",
    symptom="causal with a mask; without one every token sees the future",
    source="facebookresearch/xformers#103",
)
class CausalBesideAMaskAlone(PlainMasked):
    def hide(self, scores: Tensor, future: Tensor, seen: Tensor | None) -> Tensor:
        return scores if seen is None else super().hide(scores, future, seen)


@wrong(
    "masked-causal-replaces-the-mask",
    area="mask",
    named="causal replaces the mask",
    how="padding",
    symptom="the mask is taken and the causal flag of the kernel is set instead",
    source="pytorch/pytorch#131254, pytorch/pytorch#187413",
)
class CausalReplacesTheMask(PlainMasked):
    def hide(self, scores: Tensor, future: Tensor, seen: Tensor | None) -> Tensor:
        return super().hide(scores, future, None)


@wrong(
    "masked-true-hides-in-pairs",
    area="mask",
    named="True hides",
    how="mask of pairs",
    symptom="a mask of keys shows where True, a mask of pairs hides where True",
)
class MaskedTrueHidesInPairs(PlainMasked):
    def widen(self, mask: Tensor) -> Tensor:
        return super().widen(~mask if mask.dim() == 3 else mask)


@wrong(
    "masked-padding-acts-on-queries",
    area="mask",
    named="padding acts on queries",
    how="padding",
    symptom="real tokens see the padding before them",
    source="lsdefine/attention-is-all-you-need-keras#16",
)
class MaskedPaddingActsOnQueries(PlainMasked):
    def widen(self, mask: Tensor) -> Tensor:
        return super().widen(mask).mT


@wrong(
    "masked-least-number-added-twice",
    area="mask",
    named="least number added twice",
    how="padding on the left",
    symptom="a row of padding is spread over the keys that one mask hides; NaN in float16",
    source="huggingface/transformers#17306",
)
class LeastNumberAddedTwice(PlainMasked):
    def hide(self, scores: Tensor, future: Tensor, seen: Tensor | None) -> Tensor:
        least = torch.finfo(scores.dtype).min
        scores = scores + future.to(scores) * least
        return scores if seen is None else scores + (~seen).to(scores) * least


@wrong(
    "masked-mask-of-an-earlier-call",
    area="memory",
    named="mask of an earlier call",
    how="two calls",
    symptom="the joined mask is kept for its length: the next batch gets the padding of the last",
    source="ml-explore/mlx 00794c4",
)
class MaskOfAnEarlierCall(PlainMasked):
    kept: Tensor | None = None

    def hide(self, scores: Tensor, future: Tensor, seen: Tensor | None) -> Tensor:
        if self.kept is None or self.kept.shape[-1] != scores.shape[-1]:
            self.kept = future if seen is None else future | ~seen
        return scores.masked_fill(self.kept, torch.finfo(scores.dtype).min)


@wrong(
    "masked-buffer-written-to",
    area="memory",
    named="mask kept in the buffer",
    how="two calls",
    symptom="what was ever hidden stays hidden, in every later batch",
)
class BufferWrittenTo(PlainMasked):
    def hide(self, scores: Tensor, future: Tensor, seen: Tensor | None) -> Tensor:
        if seen is not None:
            future |= (~seen).flatten(0, -2).any(dim=0)
        return super().hide(scores, future, seen)


@wrong(
    "masked-mask-of-items-falls-on-heads",
    area="mask",
    named="mask of items falls on heads",
    how="mask of pairs, as many items as heads",
    symptom="(B, T, T) meets (B, H, T, T): silent where B = H",
    source="keras-team/keras#21595",
)
class MaskedMaskOfItemsFallsOnHeads(PlainMasked):
    def widen(self, mask: Tensor) -> Tensor:
        return mask if mask.dim() == 3 else super().widen(mask)


@wrong(
    "masked-mask-after-the-softmax",
    area="mask",
    named="mask after the softmax",
    how="padding",
    symptom="rows sum to less than one, the more padding the less",
    source="huggingface/pytorch-image-models#2236",
)
class MaskedMaskAfterTheSoftmax(PlainMasked):
    def weigh(self, scores: Tensor, future: Tensor, seen: Tensor | None) -> Tensor:
        weights = self.hide(scores, future, None).softmax(dim=-1)
        return weights if seen is None else weights * seen


@wrong(
    "masked-padding-hides-values-alone",
    area="mask",
    named="mask after the softmax",
    how="padding",
    symptom="values of padding are zero, their weights still take a share",
)
class PaddingHidesValuesAlone(PlainMasked):
    def hide(self, scores: Tensor, future: Tensor, seen: Tensor | None) -> Tensor:
        of_keys = seen is not None and seen.shape[-2] == 1
        return super().hide(scores, future, None if of_keys else seen)

    def values(self, values: Tensor, mask: Tensor | None) -> Tensor:
        if mask is None or mask.dim() == 3:
            return values
        return values * mask[:, None, :, None]


@wrong(
    "masked-padding-lost-in-eval",
    area="paths",
    named="mask ignored in eval",
    how="padding",
    symptom="right in training; the fast path of eval hides the future alone",
)
class PaddingLostInEval(PlainMasked):
    def hide(self, scores: Tensor, future: Tensor, seen: Tensor | None) -> Tensor:
        return super().hide(scores, future, seen if self.training else None)
