"""Functions like flash_attn_func with wrong scores, groups, results and tiles."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from properties.zoo.wide import held
from properties.zoo.wide.flash import Flash, as_function

wrong = partial(
    held,
    kind="flash-like",
    corner="bottom right",
    empty="zero",
    window="others",
    lse="natural",
    heads="(B, H, T)",
)


@wrong(
    "flash-cap-after-the-mask",
    area="score",
    named="cap after the mask",
    how="softcap, causal",
    symptom="minus infinity is capped, too: the future leaks with a weight of exp(-softcap)",
    source="onnx/onnx#7865, flashinfer-ai/flashinfer#350, Dao-AILab/flash-attention#1025",
)
@as_function
class cap_after_the_mask(Flash):
    softcap: float

    def cap(self, scores: Tensor, softcap: float) -> Tensor:
        self.softcap = softcap
        return scores

    def weigh(self, scores: Tensor, hidden: Tensor) -> Tensor:
        if not self.softcap:
            return super().weigh(scores, hidden)
        return super().cap(scores.masked_fill(hidden, -torch.inf), self.softcap).softmax(dim=-1)


@wrong(
    "flash-cap-dropped",
    area="score",
    named="cap ignored",
    how="softcap",
    symptom="softcap is taken and has no effect",
    source="sgl-project/sgl-kernel-xpu#491, kekzl/imp#688",
)
@as_function
class cap_dropped(Flash):
    def cap(self, scores: Tensor, softcap: float) -> Tensor:
        return scores


@wrong(
    "flash-cap-without-its-division",
    area="score",
    named="cap without its division",
    how="softcap",
    symptom="softcap * tanh(score): small scores grow by softcap",
)
@as_function
class cap_without_its_division(Flash):
    def cap(self, scores: Tensor, softcap: float) -> Tensor:
        return softcap * scores.tanh() if softcap else scores


@wrong(
    "flash-cap-before-the-scale",
    area="score",
    named="cap before the scale",
    how="softcap",
    symptom="the cap acts on unscaled scores and is scaled down with them",
)
@as_function
class cap_before_the_scale(Flash):
    def finish_scores(
        self, scores: Tensor, factor: float, softcap: float, slopes: Tensor | None
    ) -> Tensor:
        scores = self.cap(scores, softcap) * factor
        return scores if slopes is None else scores + self.bias(scores, slopes)


@wrong(
    "flash-scale-ignored",
    area="score",
    named="scale ignored",
    how="scale",
    symptom="softmax_scale is taken and has no effect",
    source="pytorch/pytorch#174049",
)
@as_function
class flash_scale_ignored(Flash):
    def factor(self, q: Tensor, scale: float | None) -> float:
        return float(q.shape[-1] ** -0.5)


@wrong(
    "flash-slopes-with-another-sign",
    area="score",
    named="distance rewarded",
    how="alibi",
    symptom="what is far away gets the weight",
    source="meta-pytorch/attention-gym#86",
)
@as_function
class slopes_with_another_sign(Flash):
    def bias(self, scores: Tensor, slopes: Tensor) -> Tensor:
        return -super().bias(scores, slopes)


@wrong(
    "flash-slope-of-the-first-head",
    area="score",
    named="slope of the first head for all",
    how="alibi",
    symptom="every head forgets equally fast",
    source="bigscience-workshop/Megatron-DeepSpeed#227, flashinfer-ai/flashinfer#1606",
)
@as_function
class slope_of_the_first_head(Flash):
    def bias(self, scores: Tensor, slopes: Tensor) -> Tensor:
        return super().bias(scores, slopes[:1].expand_as(slopes))


@wrong(
    "flash-scale-multiplies-the-slopes",
    area="score",
    named="scale multiplies the slopes, too",
    how="alibi",
    symptom="the bias is weaker by the root of head_dim",
)
@as_function
class scale_multiplies_the_slopes(Flash):
    def finish_scores(
        self, scores: Tensor, factor: float, softcap: float, slopes: Tensor | None
    ) -> Tensor:
        if slopes is not None:
            scores = scores + self.bias(scores, slopes)
        return self.cap(scores * factor, softcap)


@wrong(
    "flash-distance-from-the-top-left",
    area="score",
    named="distance from the top left",
    how="alibi, cross",
    symptom="while decoding the start of the prompt counts as near",
    source="keras-team/keras-hub#2861, EleutherAI/gpt-neox 356abfb",
)
@as_function
class distance_from_the_top_left(Flash):
    def bias(self, scores: Tensor, slopes: Tensor) -> Tensor:
        behind = self.behind(scores) - scores.shape[-1] + scores.shape[-2]
        return -slopes[:, None, None].to(scores) * behind.abs()


@wrong(
    "flash-groups-tiled",
    area="groups",
    named="groups tiled",
    how="groups",
    symptom="head h reads group h % G",
    source="onnx/onnx#7274",
)
@as_function
class flash_groups_tiled(Flash):
    def repeat(self, heads: Tensor, times: int) -> Tensor:
        return heads.repeat(1, 1, times, 1)


@wrong(
    "flash-lse-before-the-mask",
    area="result",
    named="LSE before the mask",
    how="lse, causal",
    symptom="parts that are merged by their LSE get the wrong share",
)
@as_function
class lse_before_the_mask(Flash):
    def lse(self, scores: Tensor, hidden: Tensor) -> Tensor:
        return scores.logsumexp(dim=-1)


@wrong(
    "flash-lse-without-its-maximum",
    area="result",
    named="LSE without its maximum",
    how="lse, causal",
    symptom="the logarithm of the shifted sum: nothing but the LSE is wrong",
)
@as_function
class lse_without_its_maximum(Flash):
    def lse(self, scores: Tensor, hidden: Tensor) -> Tensor:
        visible = scores.masked_fill(hidden, -torch.inf)
        return visible.logsumexp(dim=-1) - visible.amax(dim=-1)


@wrong(
    "flash-padding-keys-take-part",
    area="score",
    named="padding keys take part",
    how="plain",
    symptom="where the length is no multiple of a tile, zeros get a weight and rows sum to less",
    source="intel/sycl-tla#489",
)
@as_function
class padding_keys_take_part(Flash):
    def weigh(self, scores: Tensor, hidden: Tensor) -> Tensor:
        missing = -scores.shape[-1] % 4
        scores, hidden = functional.pad(scores, (0, missing)), functional.pad(hidden, (0, missing))
        return super().weigh(scores, hidden)[..., : scores.shape[-1] - missing]


@wrong(
    "flash-tiles-not-rescaled",
    area="score",
    named="tiles not rescaled",
    how="many keys",
    symptom="up to sixteen keys all is well; beyond, each tile has a maximum of its own",
)
@as_function
class tiles_not_rescaled(Flash):
    def weigh(self, scores: Tensor, hidden: Tensor) -> Tensor:
        visible = scores.masked_fill(hidden, torch.finfo(scores.dtype).min)
        tiles = [tile - tile.amax(-1, keepdim=True) for tile in visible.split(16, dim=-1)]
        exponentials = torch.cat(tiles, dim=-1).exp().masked_fill(hidden, 0.0)
        return exponentials / exponentials.sum(-1, keepdim=True).clamp_min(1e-30)
