"""Causal modules that keep keys and values and are told a mask of pairs beside them, right and wrong.

Legend: B batch, T tokens of this call, S tokens so far, H heads, D head_dim.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from properties.zoo.wide import held
from properties.zoo.wide.cached import future, right

Past = tuple[Tensor, Tensor]
wrong = partial(held, kind="cached", area="cache", how="chunks under a mask")


@right("cached-under-a-mask", mask="attends")
class CachedUnderAMask(nn.Module):
    """The caller holds the past; the mask has a row for each token and a column for each key, true where
    it attends.
    """

    def __init__(self, d_model: int, n_heads: int, context_length: int) -> None:
        super().__init__()
        self.n_heads, self.context_length = n_heads, context_length
        self.q_proj = nn.Linear(d_model, d_model, bias=False)
        self.k_proj = nn.Linear(d_model, d_model, bias=False)
        self.v_proj = nn.Linear(d_model, d_model, bias=False)
        self.o_proj = nn.Linear(d_model, d_model, bias=False)

    def forward(
        self, x: Tensor, attn_mask: Tensor | None = None, past: Past | None = None
    ) -> tuple[Tensor, Past]:
        """(B, T, d_model), (B, T, S) -> (B, T, d_model), and keys and values."""
        queries, keys, values = (
            layer(x).unflatten(-1, (self.n_heads, -1)).transpose(1, 2)
            for layer in (self.q_proj, self.k_proj, self.v_proj)
        )
        if past is not None:
            keys, values = torch.cat([past[0], keys], dim=2), torch.cat([past[1], values], dim=2)
        tokens, places = x.shape[1], keys.shape[2]
        if places > self.context_length:
            raise ValueError(f"{places} tokens: at most {self.context_length} fit")
        scores = queries @ keys.mT * queries.shape[-1] ** -0.5
        if attn_mask is not None:
            told = attn_mask if past is None else self.beside(attn_mask, places - tokens)
            scores = self.masked(scores, told)
        weights = scores.masked_fill(self.hidden(tokens, places), -torch.inf).softmax(dim=-1)
        return self.o_proj((weights @ values).transpose(1, 2).flatten(2)), (keys, values)

    def beside(self, mask: Tensor, length: int) -> Tensor:
        """What counts of a mask (..., T, S) beside a past of this length."""
        return mask

    def masked(self, scores: Tensor, mask: Tensor) -> Tensor:
        """Scores (B, H, T, S) under a mask of pairs."""
        return scores.masked_fill(~mask[:, None], -torch.inf)

    def hidden(self, tokens: int, places: int) -> Tensor:
        """(T, S), true where a key comes after its query."""
        return future(tokens, places)


@right("cached-under-a-mask-that-hides", mask="hides")
class CachedUnderAMaskThatHides(CachedUnderAMask):
    """True hides."""

    def masked(self, scores: Tensor, mask: Tensor) -> Tensor:
        return scores.masked_fill(mask[:, None], -torch.inf)


@right("cached-under-an-added-mask", mask="is added")
class CachedUnderAnAddedMask(CachedUnderAMask):
    """Numbers for the scores, (B, 1, T, S)."""

    def masked(self, scores: Tensor, mask: Tensor) -> Tensor:
        return scores + mask


@right("cached-by-its-mask-alone", mask="is added", causal="given")
class CachedByItsMaskAlone(CachedUnderAnAddedMask):
    """Nothing else hides the future: the caller's model makes the mask for all its layers."""

    def hidden(self, tokens: int, places: int) -> Tensor:
        return torch.zeros(tokens, places, dtype=torch.bool)


@wrong(
    "cached-mask-dropped",
    named="mask ignored beside a past",
    symptom="documents, prefixes and holes in the mask count for the prompt alone",
    mask="attends",
)
class MaskDropped(CachedUnderAMask):
    def beside(self, mask: Tensor, length: int) -> Tensor:
        return torch.ones_like(mask)


@wrong(
    "cached-mask-of-the-last-columns",
    named="mask of the new tokens alone beside a past",
    symptom="what the mask hides of the past is seen",
    mask="hides",
)
class MaskOfTheLastColumns(CachedUnderAMaskThatHides):
    def beside(self, mask: Tensor, length: int) -> Tensor:
        shown = torch.zeros_like(mask[..., :length])
        return torch.cat([shown, mask[..., length:]], dim=-1)


@wrong(
    "cached-mask-at-the-wrong-end",
    named="mask of the new tokens on the first keys beside a past",
    symptom="the mask of the step's own tokens falls on the oldest ones",
    mask="attends",
)
class MaskAtTheWrongEnd(CachedUnderAMask):
    def beside(self, mask: Tensor, length: int) -> Tensor:
        own = mask[..., length:]
        return torch.cat([own, torch.ones_like(mask[..., :length])], dim=-1)


@wrong(
    "cached-mask-turned",
    named="True and False of the mask exchanged beside a past",
    symptom="from the second step on the mask shows what it should hide",
    mask="attends",
)
class MaskTurned(CachedUnderAMask):
    def beside(self, mask: Tensor, length: int) -> Tensor:
        return ~mask


@wrong(
    "cached-added-mask-dropped",
    named="mask ignored beside a past",
    symptom="numbers for the scores count for the prompt alone",
    mask="is added",
)
class AddedMaskDropped(CachedUnderAnAddedMask):
    def beside(self, mask: Tensor, length: int) -> Tensor:
        return torch.zeros_like(mask)


@wrong(
    "cached-by-the-last-columns-of-its-mask",
    named="mask of the new tokens alone beside a past",
    symptom="what the mask hides of the past is seen",
    mask="is added",
    causal="given",
)
class ByTheLastColumnsOfItsMask(CachedByItsMaskAlone):
    def beside(self, mask: Tensor, length: int) -> Tensor:
        return torch.cat([torch.zeros_like(mask[..., :length]), mask[..., length:]], dim=-1)
