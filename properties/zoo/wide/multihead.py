"""Modules like torch's MultiheadAttention: the steps that wrong ones change, and right ones.

Legend: B batch, T queries, S keys, E embed_dim, H heads, D head_dim.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from properties.zoo.wide import sound

Result = tuple[Tensor, Tensor | None]


class PlainMultihead(nn.Module):
    """True hides, zero where a query sees nothing, (T, B, E) unless batch_first. A step is a method."""

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        batch_first: bool = False,
    ) -> None:
        super().__init__()
        self.embed_dim, self.num_heads, self.dropout = embed_dim, num_heads, dropout
        self.batch_first, self.head_dim = batch_first, embed_dim // num_heads
        self.q_proj = nn.Linear(embed_dim, embed_dim, bias=bias)
        self.k_proj = nn.Linear(embed_dim, embed_dim, bias=bias)
        self.v_proj = nn.Linear(embed_dim, embed_dim, bias=bias)
        self.out_proj = nn.Linear(embed_dim, embed_dim, bias=bias)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
    ) -> Result:
        """(B, T, E), (B, S, E) twice -> (B, T, E), and weights (B, T, S) or (B, H, T, S)."""
        if not self.batch_first:
            query, key, value = (part.transpose(0, 1) for part in (query, key, value))
        queries, keys = self.split(self.q_proj(query)), self.split(self.k_proj(key))
        values = self.split(self.value(key, value))
        scores = queries @ keys.mT / self.head_dim**0.5
        masked = self.mask(scores, key_padding_mask, attn_mask, need_weights)
        weights = self.normalise(masked)
        context = functional.dropout(weights, self.dropout, self.training) @ values
        output = self.out_proj(context.transpose(1, 2).flatten(2))
        output = output if self.batch_first else output.transpose(0, 1)
        return output, self.shown(weights, scores, average_attn_weights) if need_weights else None

    def split(self, x: Tensor) -> Tensor:
        """(B, T, E) -> (B, H, T, D)."""
        return x.unflatten(-1, (self.num_heads, self.head_dim)).transpose(1, 2)

    def value(self, key: Tensor, value: Tensor) -> Tensor:
        """Projected values, (B, S, E)."""
        projected: Tensor = self.v_proj(value)
        return projected

    def mask(
        self, scores: Tensor, padding: Tensor | None, mask: Tensor | None, need_weights: bool
    ) -> Tensor:
        """Scores after both masks."""
        if padding is not None:
            scores = self.pad(scores, padding)
        if mask is not None:
            scores = self.bias(scores, self.of_heads(mask))
        return scores

    def pad(self, scores: Tensor, padding: Tensor) -> Tensor:
        """Scores after the mask of keys, (B, S)."""
        return self.bias(scores, padding[:, None, None, :])

    def of_heads(self, mask: Tensor) -> Tensor:
        """(B * H, T, S) -> (B, H, T, S); (T, S) as it is."""
        return mask.unflatten(0, (-1, self.num_heads)) if mask.dim() == 3 else mask

    def bias(self, scores: Tensor, mask: Tensor) -> Tensor:
        """Minus infinity where the mask is True, or the sum with it."""
        return scores.masked_fill(mask, -torch.inf) if mask.dtype == torch.bool else scores + mask

    def normalise(self, scores: Tensor) -> Tensor:
        """Softmax over the keys; zero in a row that sees nothing."""
        nothing = (scores == -torch.inf).all(dim=-1, keepdim=True)
        return scores.masked_fill(nothing, 0.0).softmax(dim=-1).masked_fill(nothing, 0.0)

    def shown(self, weights: Tensor, scores: Tensor, average: bool) -> Tensor:
        """The weights that are returned."""
        return weights.mean(dim=1) if average else weights


right = partial(sound, kind="multihead-like", mask="hides")


@right("multihead-in-three-projections", empty="zero")
class ThreeProjections(PlainMultihead):
    """As torch has it with three matrices."""


@right("multihead-in-one-projection", empty="nan")
class OneProjection(nn.Module):
    """One matrix for queries, keys and values; batch and heads share an axis; batch_first is True."""

    def __init__(
        self, embed_dim: int, num_heads: int, dropout: float = 0.0, batch_first: bool = True
    ) -> None:
        super().__init__()
        self.embed_dim, self.num_heads = embed_dim, num_heads
        self.dropout, self.batch_first = nn.Dropout(dropout), batch_first
        self.in_proj_weight = nn.Parameter(torch.empty(3 * embed_dim, embed_dim))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * embed_dim))
        self.out_proj = nn.Linear(embed_dim, embed_dim)
        nn.init.xavier_uniform_(self.in_proj_weight)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
    ) -> Result:
        """(B, T, E), (B, S, E) twice -> (B, T, E), and weights (B, T, S) or (B, H, T, S)."""
        if self.batch_first:
            query, key, value = query.transpose(0, 1), key.transpose(0, 1), value.transpose(0, 1)
        queries, batch, width = query.shape
        rows = zip(self.in_proj_weight.chunk(3), self.in_proj_bias.chunk(3), strict=True)
        parts = [
            functional.linear(x, w, b)
            .reshape(len(x), batch * self.num_heads, width // self.num_heads)
            .transpose(0, 1)
            for x, (w, b) in zip((query, key, value), rows, strict=True)
        ]
        bias = query.new_zeros(1, queries, len(key))
        for mask in (attn_mask, key_padding_mask):
            if mask is None:
                continue
            added = mask
            if mask.dtype == torch.bool:
                added = torch.zeros_like(mask, dtype=bias.dtype).masked_fill_(mask, -torch.inf)
            if mask is key_padding_mask:
                added = added.repeat_interleave(self.num_heads, dim=0)[:, None]
            bias = bias + added
        scores = parts[0] @ parts[1].transpose(1, 2) * (width // self.num_heads) ** -0.5
        weights = torch.softmax(scores + bias, dim=-1)
        context = (self.dropout(weights) @ parts[2]).transpose(0, 1).reshape(queries, batch, width)
        output = self.out_proj(context)
        output = output.transpose(0, 1) if self.batch_first else output
        if not need_weights:
            return output, None
        weights = weights.view(batch, self.num_heads, queries, -1)
        return output, weights.mean(1) if average_attn_weights else weights


@right("multihead-over-torch", empty="nan")
class OverTorch(nn.Module):
    """A module of torch inside another, always asked for weights: without, empty rows may be zero."""

    def __init__(self, embed_dim: int, num_heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.inner = nn.MultiheadAttention(embed_dim, num_heads, dropout, batch_first=True)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
    ) -> Result:
        """(B, T, E), (B, S, E) twice -> (B, T, E), and weights (B, T, S) or (B, H, T, S)."""
        if key_padding_mask is not None and attn_mask is not None:
            key_padding_mask = self._as_bias(key_padding_mask, query)
            attn_mask = self._as_bias(attn_mask, query)
        output, weights = self.inner(
            query, key, value, key_padding_mask, True, attn_mask, average_attn_weights
        )
        return output, weights if need_weights else None

    @staticmethod
    def _as_bias(mask: Tensor, like: Tensor) -> Tensor:
        if mask.dtype != torch.bool:
            return mask
        return torch.zeros_like(mask, dtype=like.dtype).masked_fill(mask, -torch.inf)
