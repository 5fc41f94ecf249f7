"""Functions like torch's scaled_dot_product_attention whose masks are wrong."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from properties.zoo.wide import held
from properties.zoo.wide.dot_product import DotProduct, as_function

wrong = partial(held, kind="sdpa-like", mask="attends", corner="top left", empty="nan")


@wrong(
    "sdpa-true-hides",
    area="mask",
    named="True hides",
    how="boolean mask",
    symptom="with a triangle of True every token sees the future alone",
    source="rasbt/LLMs-from-scratch#1061, lucidrains/x-transformers#160",
    fits="hides",
)
@as_function
class true_hides(DotProduct):
    def masked(self, scores: Tensor, mask: Tensor) -> Tensor:
        if mask.dtype == torch.bool:
            return scores.masked_fill(mask, -torch.inf)
        return scores + mask


@wrong(
    "sdpa-true-hides-beside-the-causal-flag",
    area="mask",
    named="True hides beside the causal flag",
    how="boolean mask and causal",
    symptom="a mask alone is right; with is_causal what it shows is hidden",
)
@as_function
class true_hides_beside_the_causal_flag(DotProduct):
    def hide(self, scores: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
        if causal and mask is not None and mask.dtype == torch.bool:
            return scores.masked_fill(~self.past(scores) | mask, -torch.inf)
        return super().hide(scores, mask, causal)


@wrong(
    "sdpa-mask-added-as-a-number",
    area="mask",
    named="mask added as a number",
    how="boolean mask",
    symptom="True adds one to a score and False hides nothing",
    source="pytorch/pytorch#90534",
)
@as_function
class mask_added_as_a_number(DotProduct):
    def masked(self, scores: Tensor, mask: Tensor) -> Tensor:
        return scores + mask


@wrong(
    "sdpa-mask-ignored",
    area="mask",
    named="mask ignored",
    how="boolean mask",
    symptom="padding takes part",
    source="facebookresearch/fairseq#1339",
)
@as_function
class mask_ignored(DotProduct):
    def masked(self, scores: Tensor, mask: Tensor) -> Tensor:
        return scores


@wrong(
    "sdpa-float-mask-ignored",
    area="mask",
    named="bias ignored",
    how="float mask",
    symptom="boolean masks work, a bias has no effect",
    source="pytorch/pytorch#92554",
)
@as_function
class float_mask_ignored(DotProduct):
    def masked(self, scores: Tensor, mask: Tensor) -> Tensor:
        return super().masked(scores, mask) if mask.dtype == torch.bool else scores


@wrong(
    "sdpa-bias-read-as-boolean",
    area="mask",
    named="bias read as boolean",
    how="float mask",
    symptom="a bias of minus infinity shows its key and a bias of zero hides it",
    source="pytorch/pytorch#107084, facebookresearch/xformers#68",
)
@as_function
class bias_read_as_boolean(DotProduct):
    def masked(self, scores: Tensor, mask: Tensor) -> Tensor:
        return scores.masked_fill(~mask.bool(), -torch.inf)


@wrong(
    "sdpa-bias-rounded",
    area="mask",
    named="bias rounded",
    how="float mask",
    symptom="distant positions share one bias: it is kept with eight bits",
    source="Dao-AILab/flash-attention#846",
)
@as_function
class bias_rounded(DotProduct):
    def masked(self, scores: Tensor, mask: Tensor) -> Tensor:
        if mask.dtype == torch.bool:
            return super().masked(scores, mask)
        return scores + mask.bfloat16().to(scores)


@wrong(
    "sdpa-bias-switches-causal-off",
    area="mask",
    named="mask replaces causal",
    how="float mask and causal",
    symptom="with a position bias every token sees the future",
    source="huggingface/candle#3632",
)
@as_function
class bias_switches_causal_off(DotProduct):
    def hide(self, scores: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
        return super().hide(scores, mask, causal and mask is None)


@wrong(
    "sdpa-causal-switches-the-mask-off",
    area="mask",
    named="causal replaces the mask",
    how="boolean mask and causal",
    symptom="with is_causal padding takes part",
    source="pytorch/pytorch#131254",
)
@as_function
class causal_switches_the_mask_off(DotProduct):
    def hide(self, scores: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
        return super().hide(scores, None if causal else mask, causal)


@wrong(
    "sdpa-mask-of-items-falls-on-heads",
    area="mask",
    named="mask of items falls on heads",
    how="mask of items",
    symptom="silent where there are as many items as heads, an error elsewhere",
    source="keras-team/keras#21595",
)
@as_function
class mask_of_items_falls_on_heads(DotProduct):
    def masked(self, scores: Tensor, mask: Tensor) -> Tensor:
        if mask.dim() == 4 and mask.shape[1] == 1:
            mask = mask.squeeze(1)
        return super().masked(scores, mask)


@wrong(
    "sdpa-mask-of-the-first-item",
    area="mask",
    named="mask of the first item for all",
    how="mask of items",
    symptom="every item of a batch is padded like the first",
)
@as_function
class mask_of_the_first_item(DotProduct):
    def masked(self, scores: Tensor, mask: Tensor) -> Tensor:
        return super().masked(scores, mask[:1] if mask.dim() == 4 else mask)


@wrong(
    "sdpa-mask-of-the-first-query",
    area="mask",
    named="mask of the first query for all",
    how="boolean mask",
    symptom="a mask of keys is right, one of queries and keys is read as its first row",
)
@as_function
class mask_of_the_first_query(DotProduct):
    def masked(self, scores: Tensor, mask: Tensor) -> Tensor:
        return super().masked(scores, mask[..., :1, :])


@wrong(
    "sdpa-mask-skipped-by-its-first-item",
    area="paths",
    named="mask skipped by its first item",
    how="mask of items",
    symptom="where the first item of a batch is the longest, nothing is hidden",
)
@as_function
class mask_skipped_by_its_first_item(DotProduct):
    def masked(self, scores: Tensor, mask: Tensor) -> Tensor:
        if mask.dtype == torch.bool and bool(mask[0].all()):
            return scores
        return super().masked(scores, mask)


@wrong(
    "sdpa-mask-written-to",
    area="memory",
    named="mask written to",
    how="mask afterwards",
    symptom="the first layer is right, the second gets the mask the other way round",
    source="Shujun-He/RibonanzaNet#7",
)
@as_function
class mask_written_to(DotProduct):
    def masked(self, scores: Tensor, mask: Tensor) -> Tensor:
        if mask.dtype == torch.bool:
            return scores.masked_fill(mask.logical_not_(), -torch.inf)
        return scores + mask


@wrong(
    "sdpa-small-fill",
    area="mask",
    named="fill of -1e4 leaks",
    how="loud hidden key",
    symptom="a hidden key with a large score takes the weight",
    source="bentrevett/pytorch-seq2seq#191",
    empty="uniform",
)
@as_function
class small_fill(DotProduct):
    def masked(self, scores: Tensor, mask: Tensor) -> Tensor:
        if mask.dtype == torch.bool:
            return scores + (1.0 - mask.to(scores)) * -1e4
        return scores + mask


@wrong(
    "sdpa-fill-overflows-in-half",
    area="mask",
    named="fill of -1e9 overflows",
    how="half, a row that sees nothing",
    symptom="right in float32; in float16 a padded row is NaN and spoils the loss",
    source="facebookresearch/fairseq#3575, NVIDIA/apex#1105",
    empty="uniform",
)
@as_function
class fill_overflows_in_half(DotProduct):
    def masked(self, scores: Tensor, mask: Tensor) -> Tensor:
        if mask.dtype == torch.bool:
            return torch.where(mask, scores, torch.tensor(-1e9).to(scores))
        return scores + mask


@wrong(
    "sdpa-least-number-added-twice",
    area="mask",
    named="least number added twice",
    how="a row that sees nothing, causal",
    symptom="an empty row is spread over the keys that one mask hides; NaN in float16",
    source="huggingface/transformers#17306",
    empty="uniform",
)
@as_function
class least_number_added_twice(DotProduct):
    def hide(self, scores: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
        least = torch.finfo(scores.dtype).min
        if causal:
            scores = scores + (~self.past(scores)).to(scores) * least
        if mask is None or mask.dtype != torch.bool:
            return scores if mask is None else scores + mask
        return scores + (~mask).to(scores) * least
