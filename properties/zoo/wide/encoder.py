"""Modules of an encoder, in which only a mask hides: right ones, whose steps wrong ones change.

Legend: B batch, T tokens, H heads, D head_dim.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from properties.zoo.wide import sound


class PlainEncoder(nn.Module):
    """A mask of (B, T), (B, 1, 1, T) or (B, T, T), 1 attends. A step is a method."""

    def __init__(self, d_model: int, n_heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.n_heads, self.head_dim = n_heads, d_model // n_heads
        self.q_proj = nn.Linear(d_model, d_model)
        self.k_proj = nn.Linear(d_model, d_model)
        self.v_proj = nn.Linear(d_model, d_model)
        self.out_proj = nn.Linear(d_model, d_model)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, T, d_model) -> (B, T, d_model)."""
        queries, keys, values = (
            layer(x).unflatten(-1, (self.n_heads, self.head_dim)).transpose(1, 2)
            for layer in (self.q_proj, self.k_proj, self.v_proj)
        )
        scores = queries @ keys.mT / self.head_dim**0.5
        weights = self.weigh(scores, None if mask is None else self.widen(mask).bool())
        context = (self.dropout(weights) @ values).transpose(1, 2).flatten(2)
        output: Tensor = self.out_proj(context)
        return output

    def widen(self, mask: Tensor) -> Tensor:
        """(B, T), (B, 1, 1, T) or (B, T, T) -> (B, 1, 1 or T, T)."""
        if mask.dim() == 2:
            return mask[:, None, None, :]
        return mask[:, None] if mask.dim() == 3 else mask

    def weigh(self, scores: Tensor, seen: Tensor | None) -> Tensor:
        """Weights of scores, (B, H, T, T)."""
        return self.hide(scores, seen).softmax(dim=-1)

    def hide(self, scores: Tensor, seen: Tensor | None) -> Tensor:
        """The least number where a key is hidden."""
        if seen is None:
            return scores
        return scores.masked_fill(~seen, torch.finfo(scores.dtype).min)


right = partial(sound, kind="encoder")


@right("encoder-with-any-mask", mask="attends", masks="keys, pairs", empty="uniform")
class EncoderWithAnyMask(PlainEncoder):
    """As the steps are."""


@right("encoder-without-a-mask")
class MultiHeadSelfAttention(nn.Module):
    """Nothing is hidden, one matrix for queries, keys and values."""

    def __init__(self, d_model: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(d_model, 3 * d_model, bias=False)
        self.proj = nn.Linear(d_model, d_model)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, d_model) -> (B, T, d_model)."""
        batch, tokens, width = x.shape
        qkv = self.qkv(x).reshape(batch, tokens, 3, self.num_heads, width // self.num_heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        context = functional.scaled_dot_product_attention(q, k, v)
        output: Tensor = self.proj(context.transpose(1, 2).reshape(batch, tokens, width))
        return output


@right("encoder-with-an-added-mask", mask="attends", masks="keys", empty="uniform")
class BertSelfAttention(nn.Module):
    """A mask of ones and zeros, (B, T), becomes an addend, as BERT has it."""

    def __init__(self, d_model: int, n_heads: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.query, self.key = nn.Linear(d_model, d_model), nn.Linear(d_model, d_model)
        self.value, self.output = nn.Linear(d_model, d_model), nn.Linear(d_model, d_model)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """(B, T, d_model) -> (B, T, d_model)."""
        shape = (*x.shape[:2], self.n_heads, -1)
        q, k, v = self.query(x).view(shape), self.key(x).view(shape), self.value(x).view(shape)
        scores = torch.einsum("bthd,bshd->bhts", q, k) * q.shape[-1] ** -0.5
        if attention_mask is not None:
            extended = (1.0 - attention_mask[:, None, None, :].to(x)) * torch.finfo(x.dtype).min
            scores = scores + extended
        weights = self.dropout(scores.softmax(-1))
        output: Tensor = self.output(torch.einsum("bhts,bshd->bthd", weights, v).flatten(2))
        return output


@right("encoder-true-hides", mask="hides", masks="keys", empty="nan")
class EncoderTrueHides(nn.Module):
    """True hides; (B, T); a plain softmax over minus infinity; head by head."""

    def __init__(self, d_model: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.to_q = nn.Linear(d_model, d_model, bias=False)
        self.to_k = nn.Linear(d_model, d_model, bias=False)
        self.to_v = nn.Linear(d_model, d_model, bias=False)
        self.to_out = nn.Linear(d_model, d_model)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, T, d_model) -> (B, T, d_model)."""
        parts = (layer(x).chunk(self.n_heads, -1) for layer in (self.to_q, self.to_k, self.to_v))
        contexts = []
        for q, k, v in zip(*parts, strict=True):
            scores = torch.bmm(q, k.mT) / q.shape[-1] ** 0.5
            if mask is not None:
                scores = scores.masked_fill(mask[:, None, :], float("-inf"))
            contexts.append(torch.bmm(scores.softmax(-1), v))
        output: Tensor = self.to_out(torch.cat(contexts, dim=-1))
        return output
