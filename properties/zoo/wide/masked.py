"""Causal modules that take a mask, too: right ones, whose steps wrong ones change.

Legend: B batch, T tokens, H heads, D head_dim.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from properties.zoo.wide import sound


class PlainMasked(nn.Module):
    """Causal inside; mask of (B, T) or (B, T, T), True attends. A step is a method."""

    causal: Tensor

    def __init__(
        self,
        d_in: int,
        d_out: int,
        context_length: int,
        dropout: float,
        num_heads: int,
        qkv_bias: bool = False,
    ) -> None:
        super().__init__()
        self.num_heads, self.head_dim = num_heads, d_out // num_heads
        self.W_query = nn.Linear(d_in, d_out, bias=qkv_bias)
        self.W_key = nn.Linear(d_in, d_out, bias=qkv_bias)
        self.W_value = nn.Linear(d_in, d_out, bias=qkv_bias)
        self.out_proj = nn.Linear(d_out, d_out)
        self.dropout = nn.Dropout(dropout)
        future = torch.ones(context_length, context_length, dtype=torch.bool).triu(diagonal=1)
        self.register_buffer("causal", future, persistent=False)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, T, d_in) -> (B, T, d_out)."""
        queries, keys, values = (
            layer(x).unflatten(-1, (self.num_heads, self.head_dim)).transpose(1, 2)
            for layer in (self.W_query, self.W_key, self.W_value)
        )
        scores = queries @ keys.mT / self.head_dim**0.5
        future = self.causal[: x.shape[1], : x.shape[1]]
        weights = self.weigh(scores, future, None if mask is None else self.widen(mask.bool()))
        context = (self.dropout(weights) @ self.values(values, mask)).transpose(1, 2).flatten(2)
        output: Tensor = self.out_proj(context)
        return output

    def widen(self, mask: Tensor) -> Tensor:
        """(B, T) -> (B, 1, 1, T); (B, T, T) -> (B, 1, T, T)."""
        return mask[:, None] if mask.dim() == 3 else mask[:, None, None, :]

    def weigh(self, scores: Tensor, future: Tensor, seen: Tensor | None) -> Tensor:
        """Weights of scores, (B, H, T, T)."""
        return self.hide(scores, future, seen).softmax(dim=-1)

    def hide(self, scores: Tensor, future: Tensor, seen: Tensor | None) -> Tensor:
        """The least number where a key is in the future or hidden by the caller."""
        hidden = future if seen is None else future | ~seen
        return scores.masked_fill(hidden, torch.finfo(scores.dtype).min)

    def values(self, values: Tensor, mask: Tensor | None) -> Tensor:
        """(B, H, T, D), the values that are mixed."""
        return values


right = partial(sound, kind="masked")


@right("masked-and-causal", mask="attends", masks="keys, pairs", empty="uniform")
class MaskedAndCausal(PlainMasked):
    """As the steps are."""


@right("masked-keys-are-hidden", mask="hides", masks="keys", empty="nan")
class KeyPaddingCausalAttention(nn.Module):
    """Of a mask of keys, (B, T), True hides; one addend of zeros and minus infinities."""

    def __init__(self, d_model: int, n_heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.n_heads, self.p = n_heads, dropout
        self.c_attn = nn.Linear(d_model, 3 * d_model)
        self.c_proj = nn.Linear(d_model, d_model)

    def forward(self, x: Tensor, key_padding_mask: Tensor | None = None) -> Tensor:
        """(B, T, d_model) -> (B, T, d_model)."""
        batch, tokens, width = x.shape
        q, k, v = self.c_attn(x).split(width, dim=2)
        shape = (batch, tokens, self.n_heads, width // self.n_heads)
        q, k, v = (part.view(shape).permute(0, 2, 1, 3) for part in (q, k, v))
        bias = torch.full((tokens, tokens), -torch.inf, dtype=x.dtype).triu(1)
        if key_padding_mask is not None:
            hidden = key_padding_mask[:, None, None, :]
            bias = bias + torch.zeros(hidden.shape, dtype=x.dtype).masked_fill(hidden, -torch.inf)
        weights = (q @ k.transpose(2, 3) / (width // self.n_heads) ** 0.5 + bias).softmax(-1)
        context = functional.dropout(weights, self.p, self.training) @ v
        output: Tensor = self.c_proj(context.transpose(1, 2).reshape(x.shape))
        return output


@right("masked-by-two-masks", mask="attends", padding="hides", masks="keys, pairs", empty="zero")
class TwoMasksAttention(nn.Module):
    """attn_mask (T, T) or (B, T, T) is added or shows where True; padding_mask hides where True."""

    def __init__(self, d_model: int, n_heads: int, context_length: int) -> None:
        super().__init__()
        self.n_heads, self.context_length = n_heads, context_length
        self.wq, self.wk, self.wv = (nn.Linear(d_model, d_model, bias=False) for _ in range(3))
        self.wo = nn.Linear(d_model, d_model, bias=False)

    def forward(
        self, x: Tensor, attn_mask: Tensor | None = None, padding_mask: Tensor | None = None
    ) -> Tensor:
        """(B, T, d_model) -> (B, T, d_model)."""
        tokens = x.shape[1]
        heads = [
            w(x).view(*x.shape[:2], self.n_heads, -1).transpose(1, 2)
            for w in (self.wq, self.wk, self.wv)
        ]
        seen = torch.ones(tokens, tokens, dtype=torch.bool).tril().expand(len(x), 1, -1, -1)
        bias = x.new_zeros(())
        if padding_mask is not None:
            seen = seen & ~padding_mask[:, None, None]
        if attn_mask is not None:
            attn_mask = attn_mask[:, None] if attn_mask.dim() == 3 else attn_mask
            if attn_mask.dtype == torch.bool:
                seen = seen & attn_mask
            else:
                bias = attn_mask
        scores = torch.where(
            seen,
            heads[0] @ heads[1].mT * heads[0].shape[-1] ** -0.5 + bias,
            torch.finfo(x.dtype).min,
        )
        weights = scores.softmax(-1) * seen
        output: Tensor = self.wo((weights @ heads[2]).transpose(1, 2).flatten(2))
        return output


@right("masked-by-the-mask-alone", mask="attends", masks="pairs", empty="uniform", causal="given")
class MaskGivenAttention(nn.Module):
    """Nothing is causal unless the caller's mask is, as a transformer by the annotated paper."""

    def __init__(self, d_model: int, n_heads: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.d_k, self.h = d_model // n_heads, n_heads
        self.linears = nn.ModuleList(nn.Linear(d_model, d_model) for _ in range(4))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, T, d_model) -> (B, T, d_model); mask (T, T) or (B, T, T)."""
        q, k, v = (
            self.linears[i](x).view(len(x), -1, self.h, self.d_k).transpose(1, 2) for i in range(3)
        )
        scores = torch.matmul(q, k.transpose(-2, -1)) / self.d_k**0.5
        if mask is not None:
            mask = mask.unsqueeze(1) if mask.dim() == 3 else mask
            scores = scores.masked_fill(mask == 0, -1e9)
        context = self.dropout(scores.softmax(dim=-1)) @ v
        output: Tensor = self.linears[-1](context.transpose(1, 2).reshape(x.shape))
        return output
