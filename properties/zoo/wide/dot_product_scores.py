"""Functions like torch's scaled_dot_product_attention: wrong scales, groups and lengths."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from properties.zoo.wide import held
from properties.zoo.wide.dot_product import DotProduct, as_function

wrong = partial(held, kind="sdpa-like", mask="attends", corner="top left", empty="nan")


@wrong(
    "sdpa-scale-multiplies-the-mask",
    area="mask",
    named="scale multiplies the mask, too",
    how="float mask",
    symptom="a position bias is weaker by the root of head_dim",
)
@as_function
class scale_multiplies_the_mask(DotProduct):
    given: float

    def score(self, query: Tensor, key: Tensor, factor: float) -> Tensor:
        self.given = factor
        return query @ key.mT

    def hide(self, scores: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
        return super().hide(scores, mask, causal) * self.given


@wrong(
    "sdpa-scale-ignored",
    area="score",
    named="scale ignored",
    how="scale",
    symptom="a model trained with a scale of its own is blunt",
    source="pytorch/pytorch#174049",
)
@as_function
class scale_ignored(DotProduct):
    def factor(self, query: Tensor, scale: float | None) -> float:
        return float(query.shape[-1] ** -0.5)


@wrong(
    "sdpa-scale-squared",
    area="score",
    named="scale squared",
    how="scale",
    symptom="right with the default, wrong with a scale that is given",
    source="sgl-project/sglang#33558",
)
@as_function
class scale_squared(DotProduct):
    def factor(self, query: Tensor, scale: float | None) -> float:
        return super().factor(query, scale) if scale is None else scale * scale


@wrong(
    "sdpa-scale-beside-the-default",
    area="score",
    named="scale multiplied by the default",
    how="scale",
    symptom="a given scale is divided by the root of head_dim once more",
    source="huggingface/transformers#38290",
)
@as_function
class scale_beside_the_default(DotProduct):
    def factor(self, query: Tensor, scale: float | None) -> float:
        return float(query.shape[-1] ** -0.5) * (1.0 if scale is None else scale)


@wrong(
    "sdpa-scale-of-zero-taken-for-none",
    area="score",
    named="scale of zero taken for none",
    how="scale of zero",
    symptom="`scale or default`: an annealed scale jumps as it reaches zero",
)
@as_function
class scale_of_zero_taken_for_none(DotProduct):
    def factor(self, query: Tensor, scale: float | None) -> float:
        return scale or float(query.shape[-1] ** -0.5)


@wrong(
    "sdpa-groups-tiled",
    area="groups",
    named="groups tiled",
    how="groups",
    symptom="head h reads group h % G: weights of a published model give nonsense",
    source="onnx/onnx#7274, apple/axlearn#842",
)
@as_function
class groups_tiled(DotProduct):
    def repeat(self, heads: Tensor, times: int) -> Tensor:
        return torch.cat([heads] * times, dim=-3)


@wrong(
    "sdpa-groups-repeated-along-time",
    area="groups",
    named="groups repeated along time",
    how="groups",
    symptom="the axis of time is stretched and cut into heads",
    source="datawhalechina/tiny-universe#21",
)
@as_function
class groups_repeated_along_time(DotProduct):
    def repeat(self, heads: Tensor, times: int) -> Tensor:
        batch, groups, keys, width = heads.shape
        stretched = heads.repeat_interleave(times, dim=2)
        return stretched.reshape(batch, groups * times, keys, width)


@wrong(
    "sdpa-first-group-for-all",
    area="groups",
    named="first group for all heads",
    how="groups",
    symptom="all but the first head of keys and values are never read",
    source="PSAL-POSTECH/ONNXim#34, HazyResearch/HipKittens#22",
)
@as_function
class first_group_for_all(DotProduct):
    def repeat(self, heads: Tensor, times: int) -> Tensor:
        return heads[:, :1].expand(-1, heads.shape[1] * times, -1, -1)


@wrong(
    "sdpa-causal-corner-by-size",
    area="paths",
    named="causal corner changes with the number of queries",
    how="causal, one query",
    symptom="one query sees every key, two see the first one and the first two",
)
@as_function
class causal_corner_by_size(DotProduct):
    def past(self, scores: Tensor) -> Tensor:
        seen = super().past(scores)
        return torch.ones_like(seen) if scores.shape[-2] == 1 else seen


@wrong(
    "sdpa-causal-from-the-top-left",
    area="cross",
    named="causal from the top left",
    how="causal, cross",
    symptom="decoding with a cache, a token sees the start of the prompt and not its end",
    source="pytorch/pytorch#108108, ml-explore/mlx#2835",
    fits="top left",
    corner="bottom right",
)
@as_function
class causal_from_the_top_left(DotProduct):
    pass


@wrong(
    "sdpa-corner-by-kernel",
    area="paths",
    named="causal corner changes beside a mask",
    how="boolean mask and causal, cross",
    symptom="top left with the flag alone, bottom right where a mask takes the other kernel",
    source="pytorch/executorch#22426",
)
@as_function
class corner_by_kernel(DotProduct):
    def hide(self, scores: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
        if causal and mask is not None:
            past = torch.ones_like(scores, dtype=torch.bool)
            past = past.tril(scores.shape[-1] - scores.shape[-2])
            return self.masked(scores.masked_fill(~past, -torch.inf), mask)
        return super().hide(scores, mask, causal)


@wrong(
    "sdpa-as-many-keys-as-queries",
    area="cross",
    named="as many keys as queries",
    how="cross",
    symptom="keys beyond the number of queries are never read",
    source="jax-ml/jax bd9a10e",
)
@as_function
class as_many_keys_as_queries(DotProduct):
    def hide(self, scores: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
        scores = super().hide(scores, mask, causal)
        beyond = torch.arange(scores.shape[-1], device=scores.device) >= scores.shape[-2]
        return scores.masked_fill(beyond, -torch.inf)


@wrong(
    "sdpa-query-written-to",
    area="memory",
    named="query written to",
    how="plain",
    symptom="called twice with the same queries, the second result is blunt",
    source="pytorch/pytorch#73249, microsoft/onnxruntime#20555",
)
@as_function
class query_written_to(DotProduct):
    def score(self, query: Tensor, key: Tensor, factor: float) -> Tensor:
        return query.mul_(factor) @ key.mT
