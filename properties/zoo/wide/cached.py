"""Causal modules that keep keys and values: right ones, whose steps wrong ones change.

Legend: B batch, T tokens of this call, S tokens so far, H heads, D head_dim.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from properties.zoo.wide import sound
from properties.zoo.wide.rotary import PlainRotary

right = partial(sound, kind="cached")


def attend(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    hidden: Tensor,
    dropout: Callable[[Tensor], Tensor] = Tensor.clone,
) -> Tensor:
    """(B, H, T, D), (B, H, S, D) twice, (T, S) -> (B, T, H * D)."""
    scores = queries @ keys.mT * queries.shape[-1] ** -0.5
    weights = scores.masked_fill(hidden, -torch.inf).softmax(dim=-1)
    return (dropout(weights) @ values).transpose(1, 2).flatten(2)


def future(queries: int, keys: int) -> Tensor:
    """(T, S), true where a key comes after its query; the last of both are together."""
    return torch.ones(queries, keys, dtype=torch.bool).triu(diagonal=keys - queries + 1)


@right("cached-inside")
class CachedInside(nn.Module):
    """A cache inside, used when asked for and forgotten by reset_cache(). A step is a method."""

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
    ) -> None:
        super().__init__()
        self.num_heads, self.head_dim = num_heads, d_out // num_heads
        self.context_length = context_length
        self.W_query = nn.Linear(d_in, d_out, bias=qkv_bias)
        self.W_key = nn.Linear(d_in, d_out, bias=qkv_bias)
        self.W_value = nn.Linear(d_in, d_out, bias=qkv_bias)
        self.out_proj = nn.Linear(d_out, d_out)
        self.dropout = nn.Dropout(dropout)
        self.register_buffer("cache_k", None, persistent=False)
        self.register_buffer("cache_v", None, persistent=False)

    def forward(self, x: Tensor, use_cache: bool = False) -> Tensor:
        """(B, T, d_in) -> (B, T, d_out)."""
        queries, keys, values = (
            layer(x).unflatten(-1, (self.num_heads, self.head_dim)).transpose(1, 2)
            for layer in (self.W_query, self.W_key, self.W_value)
        )
        if use_cache:
            keys, values = self.remember(keys, values)
        if keys.shape[2] > self.context_length:
            raise ValueError(f"{keys.shape[2]} tokens: at most {self.context_length} fit")
        output: Tensor = self.out_proj(
            attend(queries, keys, values, self.hidden(x.shape[1], keys.shape[2]), self.dropout)
        )
        return output

    def remember(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """All keys and values so far, which are kept."""
        if self.cache_k is not None and self.cache_v is not None:
            if self.cache_k.shape[2] + keys.shape[2] > self.context_length:
                raise ValueError(f"more than {self.context_length} tokens do not fit")
            keys, values = self.join(self.cache_k, keys), self.join(self.cache_v, values)
        self.cache_k, self.cache_v = keys, values
        return keys, values

    def join(self, past: Tensor, present: Tensor) -> Tensor:
        """(B, H, S, D) and (B, H, T, D) -> (B, H, S + T, D)."""
        return torch.cat([past, present], dim=2)

    def hidden(self, queries: int, keys: int) -> Tensor:
        """(T, S), true where a key is hidden."""
        return future(queries, keys)

    def reset_cache(self) -> None:
        """Forget everything."""
        self.cache_k, self.cache_v = None, None


@right("cached-by-the-caller", pairs="halves")
class CachedByTheCaller(PlainRotary):
    """The caller holds the past, rotated keys and values; positions go on where it ends."""

    def forward(  # type: ignore[override]
        self, x: Tensor, past: list[Tensor] | None = None
    ) -> tuple[Tensor, list[Tensor]]:
        """(B, T, d_model), [(B, H, S, D) twice] -> (B, T, d_model), [(B, H, S + T, D) twice]."""
        queries, keys, values = (
            layer(x).unflatten(-1, (self.n_heads, self.head_dim)).transpose(1, 2)
            for layer in (self.q_proj, self.k_proj, self.v_proj)
        )
        start = self.start(0 if past is None else past[0].shape[2])
        angles = self.angles[start : start + x.shape[1]]
        queries, keys = self.queries(queries, angles), self.keys(keys, angles)
        whole = [keys, values] if past is None else self.extend(past, keys, values)
        context = attend(queries, *self.read(whole), future(x.shape[1], whole[0].shape[2]))
        return self.o_proj(context), whole

    def start(self, length: int) -> int:
        """The position of the first token of this call, after a past of this length."""
        return length

    def extend(self, past: list[Tensor], keys: Tensor, values: Tensor) -> list[Tensor]:
        """Past and present together, in a list of its own."""
        return [torch.cat([past[0], keys], dim=2), torch.cat([past[1], values], dim=2)]

    def read(self, whole: list[Tensor]) -> tuple[Tensor, Tensor]:
        """The keys and values that are attended to."""
        return whole[0], whole[1]


@right("cached-in-slots")
class CachedInSlots(nn.Module):
    """Room for max_seq_len tokens is laid out beforehand; start_pos says where this call goes."""

    slots_k: Tensor
    slots_v: Tensor

    def __init__(self, dim: int, n_heads: int, max_seq_len: int, max_batch_size: int) -> None:
        super().__init__()
        self.n_heads, self.head_dim, self.max_seq_len = n_heads, dim // n_heads, max_seq_len
        self.wq = nn.Linear(dim, dim, bias=False)
        self.wk = nn.Linear(dim, dim, bias=False)
        self.wv = nn.Linear(dim, dim, bias=False)
        self.wo = nn.Linear(dim, dim, bias=False)
        room = (max_batch_size, n_heads, max_seq_len, self.head_dim)
        self.register_buffer("slots_k", torch.zeros(room), persistent=False)
        self.register_buffer("slots_v", torch.zeros(room), persistent=False)

    def forward(self, x: Tensor, start_pos: int = 0) -> Tensor:
        """(B, T, dim) -> (B, T, dim)."""
        batch, tokens, _ = x.shape
        if start_pos + tokens > self.max_seq_len:
            raise ValueError(f"{start_pos + tokens} tokens: at most {self.max_seq_len} fit")
        queries, keys, values = (
            layer(x).view(batch, tokens, self.n_heads, self.head_dim).transpose(1, 2)
            for layer in (self.wq, self.wk, self.wv)
        )
        self.write(self.slots_k, keys.detach(), start_pos)
        self.write(self.slots_v, values.detach(), start_pos)
        length = self.length(start_pos, tokens)
        keys, values = self.slots_k[:batch, :, :length], self.slots_v[:batch, :, :length]
        output: Tensor = self.wo(
            attend(queries, keys, values, self.hidden(start_pos, tokens, length))
        )
        return output

    def write(self, slots: Tensor, heads: Tensor, start: int) -> None:
        """Put heads, (B, H, T, D), into slots from start on."""
        slots[: len(heads), :, start : start + heads.shape[2]] = heads

    def length(self, start: int, tokens: int) -> int:
        """How many slots are read."""
        return start + tokens

    def hidden(self, start: int, tokens: int, length: int) -> Tensor:
        """(T, S), true where a slot is hidden."""
        return torch.arange(length) > torch.arange(start, start + tokens)[:, None]
