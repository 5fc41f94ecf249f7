"""Faults of modules of queries, keys and values: those of the wide zoo, and those of a class like the
annotated transformer's, whose four projections lie in a list and where a zero in the mask hides.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from properties.zoo.faults import fault
from properties.zoo.wide import held_ones
from properties.zoo.wide.multihead import PlainMultihead

BREAKS = {
    "multihead-padding-acts-on-queries": ("mask/padding-shows-what-is-real",),
    "multihead-float-padding-ignored": ("mask/padding-as-numbers",),
    "multihead-any-padding-number-hides": ("mask/padding-numbers-are-added",),
    "multihead-small-padding-numbers-ignored": ("mask/padding-numbers-are-added",),
    "multihead-bias-read-as-boolean-in-eval": (
        "paths/modes-of-a-module",
        "mask/bias-is-added-to-the-scores",
    ),
    "multihead-mask-of-items-falls-on-heads": ("mask/shows-what-it-shows",),
    "multihead-mask-lost-without-weights": ("result/asking-changes-nothing",),
    "multihead-gradient-of-an-empty-row": ("mask/gradient-of-a-module-follows-its-masks",),
    "multihead-weights-before-the-mask": ("result/returned-weights-are-those-used",),
    "multihead-weights-summed-over-heads": ("result/averaged-weights-are-their-mean",),
    "multihead-weights-averaged-unasked": ("result/returned-weights-are-those-used",),
    "multihead-values-from-keys": ("cross/values-are-made-of-their-own-tokens",),
}
"""By the name of the wrong module."""

for _name, _laws in BREAKS.items():
    _held = held_ones()[_name]
    fault(_name, *_laws, symptom=_held.symptom, source=_held.source, family="encoder")(_held.target)


@fault(
    "an-empty-row-is-cleaned-in-training-alone",
    "paths/one-answer-to-a-row-that-sees-nothing",
    symptom="trained on zeros, the model meets NaN in eval",
    source="PyTorch 2.13, nn.MultiheadAttention",
    family="encoder",
)
class CleanedInTrainingAlone(PlainMultihead):
    """The path for eval has no such step."""

    def normalise(self, scores: Tensor) -> Tensor:
        return super().normalise(scores) if self.training else scores.softmax(dim=-1)


class PlainAnnotated(nn.Module):
    """A mask (B, 1, S), (1, T, T) or (B, T, S), 0 where it hides, for all heads alike."""

    def __init__(self, h: int, d_model: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.d_k, self.h = d_model // h, h
        self.linears = nn.ModuleList(nn.Linear(d_model, d_model) for _ in range(4))
        self.attn: Tensor | None = None
        self.dropout = nn.Dropout(p=dropout)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        """(B, T, d_model), (B, S, d_model) twice -> (B, T, d_model)."""
        queries, keys, values = (
            self.split(layer(part))
            for layer, part in zip(self.linears, (query, key, value), strict=False)
        )
        scores = queries @ keys.transpose(-2, -1) / self.d_k**0.5
        if mask is not None:
            scores = self.hide(scores, self.widen(mask))
        self.attn = self.dropout(scores.softmax(dim=-1))
        output: Tensor = self.linears[-1](self.join(self.attn @ values))
        return output

    def split(self, x: Tensor) -> Tensor:
        """(B, T, d_model) -> (B, h, T, d_k)."""
        return x.view(x.shape[0], -1, self.h, self.d_k).transpose(1, 2)

    def join(self, heads: Tensor) -> Tensor:
        """(B, h, T, d_k) -> (B, T, d_model)."""
        return heads.transpose(1, 2).flatten(2)

    def widen(self, mask: Tensor) -> Tensor:
        """For all heads."""
        return mask.unsqueeze(1)

    def hide(self, scores: Tensor, mask: Tensor) -> Tensor:
        """A number so low that nothing is left of what is hidden."""
        return scores.masked_fill(mask == 0, -1e9)


annotated = {"source": "constructed", "family": "encoder"}


@fault(
    "annotated-mask-for-heads",
    "mask/shows-what-it-shows",
    symptom="with as many items as heads each head gets another item's mask",
    **annotated,
)
class MaskForHeads(PlainAnnotated):
    """The axis that is added is that of items."""

    def widen(self, mask: Tensor) -> Tensor:
        items, queries, keys = mask.shape
        return mask.view(1, items, queries, keys)


@fault(
    "annotated-one-hides",
    "mask/joins-padding",
    symptom="a mask of pairs hides what it should show, a mask of keys does not",
    **annotated,
)
class OneHides(PlainAnnotated):
    """The polarity of one of both shapes."""

    def hide(self, scores: Tensor, mask: Tensor) -> Tensor:
        return super().hide(scores, ~mask if mask.shape[-2] > 1 else mask)


@fault(
    "annotated-values-by-the-keys",
    "cross/values-are-made-of-their-own-tokens",
    symptom="the decoder never reads what it is handed as values",
    **annotated,
)
class ValuesByTheKeys(PlainAnnotated):
    """Silent wherever keys and values are the same tokens."""

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        return super().forward(query, key, key, mask)


@fault(
    "annotated-leaks-in-training",
    "paths/modes-of-a-module",
    symptom="the loss is better than it should be, and generation is not",
    **annotated,
)
class LeaksInTraining(PlainAnnotated):
    """A milder number for a format in which -1e9 is infinite, kept for training alone."""

    def hide(self, scores: Tensor, mask: Tensor) -> Tensor:
        if not self.training:
            return super().hide(scores, mask)
        return torch.where(mask == 0, torch.full_like(scores, -1.0), scores)
