"""Faults of modules with a context: what keys and values are made of, and what hides some of it.

Some are modules of the wide zoo, each with the laws that tell it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from properties.zoo.faults import fault
from properties.zoo.wide import held_ones
from properties.zoo.wide.cross import CrossWithTwoMasks, PlainCross

BREAKS = {
    "cross-context-ignored": (
        "cross/values-come-from-the-context",
        "cross/each-query-alone",
    ),
    "cross-beside-itself": ("cross/values-come-from-the-context",),
    "cross-as-many-keys-as-queries": (
        "cross/as-many-keys-as-there-are",
        "cross/order-of-keys-does-not-matter",
    ),
    "cross-context-of-the-first-item": ("cross/without-a-context-x-is-its-own",),
    "cross-context-of-an-earlier-call": ("memory/earlier-call-is-forgotten",),
    "cross-mask-of-queries": ("cross/padding-of-x-hides-no-token-of-the-context",),
}
"""By the name of the wrong module."""

for _name, _laws in BREAKS.items():
    _held = held_ones()[_name]
    fault(_name, *_laws, symptom=_held.symptom, source=_held.source, family="encoder")(_held.target)


class PlainContextMask(PlainCross):
    """With a mask of the context, (B, S) or (B, T, S): True shows, and numbers are added to the scores."""

    seen: Tensor | None = None

    def forward(
        self, x: Tensor, context: Tensor | None = None, context_mask: Tensor | None = None
    ) -> Tensor:
        """(B, T, d_model), (B, S, d_model) -> (B, T, d_model)."""
        self.seen = None if context_mask is None else self.widen(context_mask)
        return super().forward(x, context)

    def widen(self, mask: Tensor) -> Tensor:
        """(B, 1, 1, S) or (B, 1, T, S)."""
        return mask[:, None, None] if mask.dim() == 2 else mask[:, None]

    def weigh(self, scores: Tensor) -> Tensor:
        if self.seen is not None:
            scores = self.told(scores, self.seen)
        return super().weigh(scores)

    def told(self, scores: Tensor, mask: Tensor) -> Tensor:
        """What the mask makes of scores."""
        if mask.dtype != torch.bool:
            return scores + mask
        return scores.masked_fill(~mask, torch.finfo(scores.dtype).min)


@fault(
    "context-mask-of-the-first-item",
    "cross/mask-of-the-context-shows-what-it-shows",
    "cross/bias-of-the-context-is-added",
    "cross/padding-of-the-context-is-hidden",
    symptom="the padding of the first context of a batch is that of all others",
    family="encoder",
)
class ContextMaskOfTheFirstItem(PlainContextMask):
    """Right for a batch of one."""

    def widen(self, mask: Tensor) -> Tensor:
        return super().widen(mask)[:1]


@fault(
    "context-mask-of-the-first-query",
    "cross/mask-of-the-context-shows-what-it-shows",
    "cross/bias-of-the-context-is-added",
    symptom="all queries see what the first one sees",
    family="encoder",
)
class ContextMaskOfTheFirstQuery(PlainContextMask):
    """A mask of pairs is taken for one of tokens."""

    def widen(self, mask: Tensor) -> Tensor:
        return super().widen(mask)[:, :, :1]


@fault(
    "context-mask-multiplied-into-scores",
    "cross/padding-of-the-context-is-hidden",
    "cross/padded-context-equals-a-shorter-one",
    symptom="padding of the context has a score of zero in place of none",
    family="encoder",
)
class ContextMaskMultipliedIntoScores(PlainContextMask):
    """As a mask of ones and zeros."""

    def told(self, scores: Tensor, mask: Tensor) -> Tensor:
        return scores * mask.to(scores.dtype)


@fault(
    "context-mask-with-a-small-fill",
    "cross/padded-context-equals-a-shorter-one",
    symptom="padding of the context leaks as soon as its scores are large",
    family="encoder",
)
class ContextMaskWithASmallFill(PlainContextMask):
    """Ten is less than scores are in training."""

    def told(self, scores: Tensor, mask: Tensor) -> Tensor:
        return (
            scores - 10.0 * (~mask).to(scores.dtype) if mask.dtype == torch.bool else scores + mask
        )


@fault(
    "mask-of-x-cut-to-the-context",
    "cross/padding-of-x-hides-no-token-of-the-context",
    symptom="the context is padded like x, whatever its length",
    family="encoder",
)
class MaskOfXCutToTheContext(CrossWithTwoMasks):
    """A mask is made to fit, so that no error tells."""

    def forward(
        self,
        x: Tensor,
        context: Tensor | None = None,
        mask: Tensor | None = None,
        context_mask: Tensor | None = None,
    ) -> Tensor:
        """(B, T, d_model), (B, S, d_model) -> (B, T, d_model); masks (B, T), (B, S)."""
        if context is not None and mask is not None and context_mask is None:
            missing = context.shape[1] - mask.shape[1]
            more = mask.new_ones(len(mask), max(missing, 0))
            context_mask = torch.cat([mask[:, : context.shape[1]], more], dim=1)
        return super().forward(x, context, mask, context_mask)


@fault(
    "context-is-detached",
    "cross/gradients-of-x-and-the-context",
    symptom="an encoder is not trained by what is made of its states",
    family="encoder",
)
class ContextIsDetached(PlainCross):
    """Its keys and values are taken for constants."""

    def sources(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        return super().sources(x, None if context is None else context.detach())


@fault(
    "values-of-the-context-are-detached",
    "cross/gradients-of-x-and-the-context",
    symptom="an encoder is trained by its keys alone",
    family="encoder",
)
class ValuesOfTheContextAreDetached(PlainCross):
    """Half of its gradient is lost."""

    def sources(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        queries, keys, values = super().sources(x, context)
        return queries, keys, values if context is None else values.detach()


@fault(
    "context-without-the-scale",
    "cross/without-a-context-x-is-its-own",
    "cross/as-many-keys-as-there-are",
    symptom="attention to a context is sharper than to oneself",
    family="encoder",
)
class ContextWithoutTheScale(PlainCross):
    """A branch of its own that forgets it."""

    crossing = False

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """(B, T, d_model), (B, S, d_model) -> (B, T, d_model)."""
        self.crossing = context is not None
        return super().forward(x, context)

    def weigh(self, scores: Tensor) -> Tensor:
        return super().weigh(scores * self.head_dim**0.5 if self.crossing else scores)
