"""Modules like torch's MultiheadAttention that are wrong."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from properties.zoo.wide import held
from properties.zoo.wide.multihead import PlainMultihead

wrong = partial(held, kind="multihead-like", mask="hides", empty="zero")


@wrong(
    "multihead-padding-attends",
    area="mask",
    named="True attends in the padding mask",
    how="padding",
    symptom="attn_mask hides where True, key_padding_mask shows where True",
    source="InseeFrLab/torchTextClassifiers#92",
    fits="attends",
)
class PaddingAttends(PlainMultihead):
    def pad(self, scores: Tensor, padding: Tensor) -> Tensor:
        return super().pad(scores, ~padding if padding.dtype == torch.bool else padding)


@wrong(
    "multihead-padding-acts-on-queries",
    area="mask",
    named="padding acts on queries",
    how="padding",
    symptom="rows of padding are empty and real tokens see the padding; an error for T != S",
    source="lsdefine/attention-is-all-you-need-keras#16",
)
class PaddingActsOnQueries(PlainMultihead):
    def pad(self, scores: Tensor, padding: Tensor) -> Tensor:
        return self.bias(scores, padding[:, None, :, None])


@wrong(
    "multihead-padding-ignored",
    area="mask",
    named="mask ignored",
    how="padding",
    symptom="key_padding_mask is taken and not passed on",
    source="facebookresearch/fairseq#1339",
)
class PaddingIgnored(PlainMultihead):
    def pad(self, scores: Tensor, padding: Tensor) -> Tensor:
        return scores


@wrong(
    "multihead-float-padding-ignored",
    area="mask",
    named="bias of the padding mask ignored",
    how="float padding",
    symptom="a padding mask of zeros and minus infinities hides nothing",
    source="pytorch/pytorch#92554",
)
class FloatPaddingIgnored(PlainMultihead):
    def pad(self, scores: Tensor, padding: Tensor) -> Tensor:
        return super().pad(scores, padding) if padding.dtype == torch.bool else scores


@wrong(
    "multihead-any-padding-number-hides",
    area="mask",
    named="numbers in the padding mask read as booleans",
    how="small numbers of padding",
    symptom="a number that lessens a key's weight a little hides the key",
)
class AnyPaddingNumberHides(PlainMultihead):
    def pad(self, scores: Tensor, padding: Tensor) -> Tensor:
        return super().pad(scores, padding.bool())


@wrong(
    "multihead-small-padding-numbers-ignored",
    area="mask",
    named="only minus infinity in the padding mask acts",
    how="small numbers of padding",
    symptom="a number that lessens a key's weight a little does nothing",
)
class SmallPaddingNumbersIgnored(PlainMultihead):
    def pad(self, scores: Tensor, padding: Tensor) -> Tensor:
        hidden = padding if padding.dtype == torch.bool else padding.isneginf()
        return super().pad(scores, hidden)


@wrong(
    "multihead-bias-read-as-boolean-in-eval",
    area="paths",
    named="bias read as boolean in eval",
    how="float mask, eval",
    symptom="the fast path of eval hides what has any bias",
    source="pytorch/pytorch#107084",
)
class BiasReadAsBooleanInEval(PlainMultihead):
    def of_heads(self, mask: Tensor) -> Tensor:
        return super().of_heads(mask if self.training else mask.bool())


@wrong(
    "multihead-mask-of-items-falls-on-heads",
    area="mask",
    named="mask of items falls on heads",
    how="mask of items and heads",
    symptom="(B * H, T, S) is read as (H * B, T, S)",
    source="lsdefine/attention-is-all-you-need-keras#36",
)
class MaskOfItemsFallsOnHeads(PlainMultihead):
    def of_heads(self, mask: Tensor) -> Tensor:
        if mask.dim() != 3:
            return mask
        return mask.unflatten(0, (self.num_heads, -1)).transpose(0, 1)


@wrong(
    "multihead-padding-of-another-item",
    area="mask",
    named="padding of another item",
    how="padding",
    symptom="padding is tiled where heads lie side by side: heads of an item get other items' padding",
    source="lsdefine/attention-is-all-you-need-keras#36",
)
class PaddingOfAnotherItem(PlainMultihead):
    def pad(self, scores: Tensor, padding: Tensor) -> Tensor:
        tiled = padding.repeat(self.num_heads, 1)
        return self.bias(scores, tiled.view(*scores.shape[:2], 1, -1))


@wrong(
    "multihead-mask-lost-without-weights",
    area="paths",
    named="mask lost where no weights are wanted",
    how="mask, no weights",
    symptom="need_weights=False takes a kernel that was not given attn_mask",
)
class MaskLostWithoutWeights(PlainMultihead):
    def mask(
        self, scores: Tensor, padding: Tensor | None, mask: Tensor | None, need_weights: bool
    ) -> Tensor:
        return super().mask(scores, padding, mask if need_weights else None, need_weights)


@wrong(
    "multihead-mask-replaces-padding",
    area="mask",
    named="mask replaces the padding",
    how="mask and padding",
    symptom="given both masks the second one wins",
)
class MaskReplacesPadding(PlainMultihead):
    def mask(
        self, scores: Tensor, padding: Tensor | None, mask: Tensor | None, need_weights: bool
    ) -> Tensor:
        return super().mask(scores, padding if mask is None else None, mask, need_weights)


@wrong(
    "multihead-mask-written-to",
    area="memory",
    named="mask written to",
    how="mask afterwards",
    symptom="the first layer is right, the others get a mask that hides everything it showed",
    source="Shujun-He/RibonanzaNet#7",
)
class MaskWrittenTo(PlainMultihead):
    def bias(self, scores: Tensor, mask: Tensor) -> Tensor:
        if mask.dtype != torch.bool:
            return scores + mask
        return torch.where(mask.logical_not_(), scores, -torch.inf)


@wrong(
    "multihead-gradient-of-an-empty-row",
    area="mask",
    named="NaN gradient of a row that sees nothing",
    how="gradient, a row that sees nothing",
    symptom="the output is cleaned, the first step of training makes every weight NaN",
    source="pytorch/pytorch#41508",
)
class GradientOfAnEmptyRow(PlainMultihead):
    def bias(self, scores: Tensor, mask: Tensor) -> Tensor:
        if mask.dtype == torch.bool:
            mask = torch.zeros_like(mask, dtype=scores.dtype).masked_fill(mask, -torch.inf)
        return scores + mask

    def normalise(self, scores: Tensor) -> Tensor:
        return scores.softmax(dim=-1).nan_to_num(0.0)


@wrong(
    "multihead-an-empty-row-empties-its-item",
    area="mask",
    named="a row that sees nothing harms others",
    how="a row that sees nothing",
    symptom="one padded query and its whole sequence is zero",
)
class AnEmptyRowEmptiesItsItem(PlainMultihead):
    def normalise(self, scores: Tensor) -> Tensor:
        weights = scores.softmax(dim=-1)
        spoilt = weights.isnan().any(dim=-1, keepdim=True).any(dim=-2, keepdim=True)
        return torch.where(spoilt, 0.0, weights)


@wrong(
    "multihead-weights-before-the-mask",
    area="result",
    named="weights before the mask",
    how="weights, padding",
    symptom="the picture of the weights shows attention to padding; the output is right",
)
class WeightsBeforeTheMask(PlainMultihead):
    def shown(self, weights: Tensor, scores: Tensor, average: bool) -> Tensor:
        return super().shown(scores.softmax(dim=-1), scores, average)


@wrong(
    "multihead-weights-summed-over-heads",
    area="result",
    named="weights summed over heads",
    how="plain",
    symptom="returned rows sum to the number of heads",
)
class WeightsSummedOverHeads(PlainMultihead):
    def shown(self, weights: Tensor, scores: Tensor, average: bool) -> Tensor:
        return weights.sum(dim=1) if average else weights


@wrong(
    "multihead-weights-of-the-first-head",
    area="result",
    named="weights of the first head for the average",
    how="plain",
    symptom="what is returned as the average is one head",
)
class WeightsOfTheFirstHead(PlainMultihead):
    def shown(self, weights: Tensor, scores: Tensor, average: bool) -> Tensor:
        return weights[:, 0] if average else weights


@wrong(
    "multihead-weights-averaged-unasked",
    area="result",
    named="weights of heads averaged",
    how="weights of heads",
    symptom="asked for every head one gets the average in each head's place",
    source="facebookresearch/fairseq#3365",
)
class WeightsAveragedUnasked(PlainMultihead):
    def shown(self, weights: Tensor, scores: Tensor, average: bool) -> Tensor:
        mean = weights.mean(dim=1)
        return mean if average else mean[:, None].expand_as(weights)


@wrong(
    "multihead-values-from-keys",
    area="cross",
    named="values from the keys",
    how="cross",
    symptom="value is never read: silent in self-attention",
    source="meta-pytorch/torchtune#21",
)
class ValuesFromKeys(PlainMultihead):
    def value(self, key: Tensor, value: Tensor) -> Tensor:
        return super().value(key, key)


@wrong(
    "multihead-heads-without-a-transpose",
    area="cross",
    named="heads split without a transpose",
    how="plain",
    symptom="tokens are cut into heads: queries are answered by each other's parts",
    source="hyunwoongko/transformer 391c9cd",
)
class HeadsWithoutATranspose(PlainMultihead):
    def split(self, x: Tensor) -> Tensor:
        return x.reshape(len(x), self.num_heads, x.shape[1], self.head_dim)
