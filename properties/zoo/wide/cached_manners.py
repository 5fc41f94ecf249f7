"""Causal modules that keep keys and values in other manners: with a pointer, as GPT-2 and as Llama does.

Legend: B batch, T tokens of this call, S tokens so far, H heads, D head_dim.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from properties.zoo.wide import sound
from properties.zoo.wide.cached import attend, future

right = partial(sound, kind="cached")
Past = tuple[Tensor, Tensor]


@right("cached-with-a-pointer")
class CachedWithAPointer(nn.Module):
    """Room for a window of tokens is laid out at the first call with the cache; a pointer says how many
    are there. What does not fit pushes the oldest out.
    """

    cache_k: Tensor | None
    cache_v: Tensor | None

    def __init__(
        self,
        d_in: int,
        d_out: int,
        context_length: int,
        dropout: float,
        num_heads: int,
        qkv_bias: bool = False,
        max_seq_len: int | None = None,
        window_size: int | None = None,
    ) -> None:
        super().__init__()
        if d_out % num_heads:
            raise ValueError(f"{num_heads} heads do not divide d_out {d_out}")
        self.num_heads, self.head_dim = num_heads, d_out // num_heads
        self.room = window_size or max_seq_len or context_length
        self.context_length = context_length
        self.W_query = nn.Linear(d_in, d_out, bias=qkv_bias)
        self.W_key = nn.Linear(d_in, d_out, bias=qkv_bias)
        self.W_value = nn.Linear(d_in, d_out, bias=qkv_bias)
        self.out_proj = nn.Linear(d_out, d_out)
        self.dropout = nn.Dropout(dropout)
        self.register_buffer("cache_k", None, persistent=False)
        self.register_buffer("cache_v", None, persistent=False)
        self.pointer = 0

    def forward(self, x: Tensor, use_cache: bool = False) -> Tensor:
        """(B, T, d_in) -> (B, T, d_out)."""
        if x.shape[1] > self.context_length:
            raise ValueError(f"{x.shape[1]} tokens: at most {self.context_length} fit")
        queries, keys, values = (
            layer(x).unflatten(-1, (self.num_heads, self.head_dim)).transpose(1, 2)
            for layer in (self.W_query, self.W_key, self.W_value)
        )
        if use_cache:
            keys, values = self.remember(keys, values)
        hidden = future(x.shape[1], keys.shape[2])
        output: Tensor = self.out_proj(attend(queries, keys, values, hidden, self.dropout))
        return output

    def remember(self, keys: Tensor, values: Tensor) -> Past:
        """All keys and values that there is room for, the new ones last."""
        if self.cache_k is None or self.cache_v is None or len(self.cache_k) != len(keys):
            room = (len(keys), self.num_heads, self.room, self.head_dim)
            self.cache_k, self.cache_v = keys.new_zeros(room), keys.new_zeros(room)
            self.pointer = 0
        new = keys.shape[2]
        if (over := self.pointer + new - self.room) > 0:
            self.cache_k, self.cache_v = (
                part.roll(-over, 2) for part in (self.cache_k, self.cache_v)
            )
            self.pointer -= over
        end = self.pointer + new
        self.cache_k[:, :, self.pointer : end] = keys.detach()
        self.cache_v[:, :, self.pointer : end] = values.detach()
        self.pointer = end
        return self.cache_k[:, :, :end], self.cache_v[:, :, :end]

    def reset_cache(self) -> None:
        """Forget everything."""
        self.cache_k, self.cache_v, self.pointer = None, None, 0


@right("cached-as-in-gpt-2")
class CachedAsInGpt2(nn.Module):
    """One matrix for queries, keys and values; the present comes beside the output where asked for."""

    def __init__(
        self, embed_dim: int, num_heads: int, n_positions: int, attn_pdrop: float = 0.0
    ) -> None:
        super().__init__()
        self.num_heads, self.n_positions = num_heads, n_positions
        self.c_attn = nn.Linear(embed_dim, 3 * embed_dim)
        self.c_proj = nn.Linear(embed_dim, embed_dim)
        self.attn_dropout = nn.Dropout(attn_pdrop)

    def forward(
        self, hidden_states: Tensor, layer_past: Past | None = None, use_cache: bool = False
    ) -> tuple[Tensor, Past | None]:
        """(B, T, embed_dim), (B, H, S, D) twice -> (B, T, embed_dim), (B, H, S + T, D) twice."""
        parts = self.c_attn(hidden_states).chunk(3, dim=-1)
        queries, keys, values = (
            part.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for part in parts
        )
        if layer_past is not None:
            keys, values = self.joined(layer_past, keys, values)
        if keys.shape[2] > self.n_positions:
            raise ValueError(f"{keys.shape[2]} tokens: at most {self.n_positions} fit")
        hidden = future(queries.shape[2], keys.shape[2])
        context = attend(queries, keys, values, hidden, self.attn_dropout)
        return self.c_proj(context), (keys, values) if use_cache else None

    def joined(self, past: Past, keys: Tensor, values: Tensor) -> Past:
        """Past and present."""
        return torch.cat([past[0], keys], dim=2), torch.cat([past[1], values], dim=2)


@right("cached-as-in-llama", pairs="neighbours")
class CachedAsInLlama(nn.Module):
    """Room is laid out in float32 and follows x; the caller says where a step starts, and how it turns."""

    def __init__(self, dim: int, n_heads: int, max_seq_len: int, max_batch_size: int) -> None:
        super().__init__()
        self.n_heads, self.head_dim, self.max_seq_len = n_heads, dim // n_heads, max_seq_len
        self.wq = nn.Linear(dim, dim, bias=False)
        self.wk = nn.Linear(dim, dim, bias=False)
        self.wv = nn.Linear(dim, dim, bias=False)
        self.wo = nn.Linear(dim, dim, bias=False)
        room = (max_batch_size, max_seq_len, n_heads, self.head_dim)
        self.cache_k, self.cache_v = torch.zeros(room), torch.zeros(room)

    def forward(
        self, x: Tensor, start_pos: int, freqs_cis: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        """(B, T, dim), complex (T, D / 2), (T, S) numbers that are added -> (B, T, dim)."""
        batch, tokens, _ = x.shape
        end = start_pos + tokens
        if end > self.max_seq_len:
            raise ValueError(f"{end} tokens: at most {self.max_seq_len} fit")
        queries, keys, values = (
            layer(x).view(batch, tokens, self.n_heads, self.head_dim)
            for layer in (self.wq, self.wk, self.wv)
        )
        queries, keys = self.turned(queries, freqs_cis), self.turned(keys, freqs_cis)
        self.cache_k, self.cache_v = self.cache_k.to(x), self.cache_v.to(x)
        self.cache_k[:batch, start_pos:end] = keys
        self.cache_v[:batch, start_pos:end] = values
        scores = queries.transpose(1, 2) @ self.cache_k[:batch, :end].permute(0, 2, 3, 1)
        scores = scores * self.head_dim**-0.5 + (0.0 if mask is None else mask)
        weights = scores.masked_fill(future(tokens, end), -torch.inf).softmax(dim=-1)
        context = weights @ self.cache_v[:batch, :end].transpose(1, 2)
        output: Tensor = self.wo(context.transpose(1, 2).flatten(2))
        return output

    def turned(self, heads: Tensor, freqs_cis: Tensor) -> Tensor:
        """(B, T, H, D), neighbours being the parts of a complex number."""
        wide = heads.to(torch.promote_types(heads.dtype, torch.float32))
        pairs = torch.view_as_complex(wide.unflatten(-1, (-1, 2)).contiguous())
        return torch.view_as_real(pairs * freqs_cis[:, None]).flatten(3).to(heads)
