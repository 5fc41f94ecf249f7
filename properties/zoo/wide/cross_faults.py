"""Modules with a context that are wrong."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from properties.zoo.wide import held
from properties.zoo.wide.cross import CrossWithTwoMasks, PlainCross

wrong = partial(held, kind="cross")


@wrong(
    "cross-queries-from-the-context",
    area="cross",
    named="queries from the context",
    how="cross",
    symptom="as many rows as the context has: silent where both are equally long",
    source="ml-explore/mlx#3382",
)
class QueriesFromTheContext(PlainCross):
    def sources(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        return (x, x, x) if context is None else (context, x, x)


@wrong(
    "cross-values-from-the-queries",
    area="cross",
    named="values from the queries' source",
    how="cross, as many keys as queries",
    symptom="x is looked up by the context; an error where lengths differ",
)
class ValuesFromTheQueries(PlainCross):
    def sources(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        return x, x if context is None else context, x


@wrong(
    "cross-context-ignored",
    area="cross",
    named="context ignored",
    how="cross",
    symptom="self-attention, whatever context is given",
    source="ml-explore/mlx#210",
)
class ContextIgnored(PlainCross):
    def sources(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        return x, x, x


@wrong(
    "cross-beside-itself",
    area="cross",
    named="x attends to itself beside the context",
    how="cross",
    symptom="keys of x are appended to those of the context",
)
class BesideItself(PlainCross):
    def sources(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        both = x if context is None else torch.cat([context, x], dim=1)
        return x, both, both


@wrong(
    "cross-left-causal",
    area="cross",
    named="causal across sequences",
    how="cross",
    symptom="the first query sees the first key of the context alone",
    source="NVIDIA/TransformerEngine#565",
)
class TriangleAcrossSequences(PlainCross):
    def sources(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        self.crossed = context is not None
        return super().sources(x, context)

    def weigh(self, scores: Tensor) -> Tensor:
        if not self.crossed:
            return super().weigh(scores)
        past = torch.ones_like(scores, dtype=torch.bool).tril()
        return scores.masked_fill(~past, -torch.inf).softmax(dim=-1)


@wrong(
    "cross-as-many-keys-as-queries",
    area="cross",
    named="as many keys as queries",
    how="cross",
    symptom="what the context has beyond the length of x is never read",
    source="jax-ml/jax bd9a10e",
)
class AsManyKeysAsQueries(PlainCross):
    def sources(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        return super().sources(x, None if context is None else context[:, : x.shape[1]])


@wrong(
    "cross-memory-viewed-with-the-length-of-queries",
    area="cross",
    named="context viewed with the length of queries",
    how="cross, twice as many keys",
    symptom="the context's tokens are cut anew: those of later ones fall on other heads",
    source="huggingface/transformers#48356, facebookresearch/xformers#1090",
)
class ViewedWithTheLengthOfQueries(PlainCross):
    def sources(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        self.tokens = x.shape[1]
        return super().sources(x, context)

    def split(self, x: Tensor) -> Tensor:
        if x.shape[1] % self.tokens:
            return super().split(x)
        cut = x.reshape(len(x), self.tokens, self.num_heads, -1, self.head_dim)
        return cut.permute(0, 2, 1, 3, 4).flatten(2, 3)


@wrong(
    "cross-context-of-the-first-item",
    area="cross",
    named="context of the first item for all",
    how="cross",
    symptom="right for a batch of one",
)
class ContextOfTheFirstItem(PlainCross):
    def sources(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        first = None if context is None else context[:1].expand(len(x), -1, -1)
        return super().sources(x, first)


@wrong(
    "cross-context-of-an-earlier-call",
    area="memory",
    named="context of an earlier call",
    how="two calls",
    symptom="keys of the context are kept for decoding and never made anew",
)
class ContextOfAnEarlierCall(PlainCross):
    kept: Tensor | None = None

    def sources(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        if context is not None and (self.kept is None or self.kept.shape != context.shape):
            self.kept = context
        return super().sources(x, None if context is None else self.kept)


@wrong(
    "cross-softmax-over-queries",
    area="cross",
    named="softmax over the queries",
    how="plain",
    symptom="a query's answer depends on the other queries",
    source="labmlai/annotated_deep_learning_paper_implementations#146",
)
class SoftmaxOverQueries(PlainCross):
    def weigh(self, scores: Tensor) -> Tensor:
        return scores.softmax(dim=-2)


@wrong(
    "cross-mask-of-queries",
    area="mask",
    named="mask of the queries on the keys",
    how="padding, as many keys as queries",
    symptom="without a mask of its own the context is padded like x; an error for T != S",
    source="lucidrains/x-transformers#174, hyunwoongko/transformer 67ccbb0",
    mask="attends",
    empty="uniform",
)
class MaskOfQueries(CrossWithTwoMasks):
    def forward(
        self,
        x: Tensor,
        context: Tensor | None = None,
        mask: Tensor | None = None,
        context_mask: Tensor | None = None,
    ) -> Tensor:
        """(B, T, d_model), (B, S, d_model) -> (B, T, d_model); masks (B, T), (B, S)."""
        return super().forward(x, context, mask, mask if context_mask is None else context_mask)


@wrong(
    "cross-scale-by-the-number-of-keys",
    area="score",
    named="scale 1/sqrt(tokens)",
    how="plain",
    symptom="the longer the context the blunter the weights: shape[-2] for shape[-1]",
)
class ScaleByTheNumberOfKeys(PlainCross):
    def weigh(self, scores: Tensor) -> Tensor:
        return super().weigh(scores * self.head_dim**0.5 / scores.shape[-1] ** 0.5)
