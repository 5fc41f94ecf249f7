"""Causal modules that keep keys and values in other manners: in a room with a pointer, as GPT-2 does.

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
