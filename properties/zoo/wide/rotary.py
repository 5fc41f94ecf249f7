"""Causal modules with rotary positions: right ones, whose steps wrong ones change.

Legend: B batch, T tokens, H heads, D head_dim.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from properties.zoo.wide import sound


class PlainRotary(nn.Module):
    """Halves of a head are rotated together; angles are a buffer. A step is a method."""

    angles: Tensor

    def __init__(
        self, d_model: int, n_heads: int, context_length: int, base: float = 10000.0
    ) -> None:
        super().__init__()
        self.n_heads, self.head_dim, self.base = n_heads, d_model // n_heads, base
        self.q_proj = nn.Linear(d_model, d_model, bias=False)
        self.k_proj = nn.Linear(d_model, d_model, bias=False)
        self.v_proj = nn.Linear(d_model, d_model, bias=False)
        self.o_proj = nn.Linear(d_model, d_model, bias=False)
        self.register_buffer("angles", self.table(context_length, base), persistent=False)

    def table(self, positions: int, base: float) -> Tensor:
        """(positions, D / 2), the angle of each pair at each position."""
        steps = torch.arange(0, self.head_dim, 2).double() / self.head_dim
        return torch.outer(torch.arange(positions).double(), base**-steps)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, d_model) -> (B, T, d_model)."""
        return self.attend(x, self.angles[: x.shape[1]])

    def attend(self, x: Tensor, angles: Tensor) -> Tensor:
        """Causal attention with the angles, (T, D / 2), of the tokens of x."""
        queries, keys, values = (
            layer(x).unflatten(-1, (self.n_heads, self.head_dim)).transpose(1, 2)
            for layer in (self.q_proj, self.k_proj, self.v_proj)
        )
        queries, keys = self.queries(queries, angles), self.keys(keys, angles)
        scores = queries @ keys.mT * self.head_dim**-0.5
        weights = self.hide(scores).softmax(dim=-1)
        context = weights @ self.values(values, angles)
        output: Tensor = self.o_proj(context.transpose(1, 2).flatten(2))
        return output

    def hide(self, scores: Tensor) -> Tensor:
        """Scores without the future, (B, H, T, T)."""
        future = torch.ones_like(scores, dtype=torch.bool).triu(diagonal=1)
        return scores.masked_fill(future, -torch.inf)

    def queries(self, queries: Tensor, angles: Tensor) -> Tensor:
        """Rotated queries, (B, H, T, D)."""
        return self.rotate(queries, angles)

    def keys(self, keys: Tensor, angles: Tensor) -> Tensor:
        """Rotated keys, (B, H, T, D)."""
        return self.rotate(keys, angles)

    def values(self, values: Tensor, angles: Tensor) -> Tensor:
        """Values as they are, (B, H, T, D)."""
        return values

    def rotate(self, heads: Tensor, angles: Tensor) -> Tensor:
        """(B, H, T, D), each pair turned by its angle; angles broadcast to (B, H, T, D / 2)."""
        cos, sin = angles.cos().to(heads), angles.sin().to(heads)
        first, second = heads.chunk(2, dim=-1)
        return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


right = partial(sound, kind="rotary")


@right("rotary-by-halves", pairs="halves")
class RotaryByHalves(PlainRotary):
    """As the steps are."""


@right("rotary-by-neighbours", pairs="neighbours")
class RotaryByNeighbours(nn.Module):
    """Neighbours are the parts of a complex number; positions count from start_pos."""

    turns: Tensor

    def __init__(self, dim: int, n_heads: int, max_seq_len: int, theta: float = 10000.0) -> None:
        super().__init__()
        self.n_heads, self.head_dim = n_heads, dim // n_heads
        self.wq = nn.Linear(dim, dim, bias=False)
        self.wk = nn.Linear(dim, dim, bias=False)
        self.wv = nn.Linear(dim, dim, bias=False)
        self.wo = nn.Linear(dim, dim, bias=False)
        speeds = 1.0 / theta ** (torch.arange(0, self.head_dim, 2).double() / self.head_dim)
        angles = torch.outer(torch.arange(max_seq_len).double(), speeds)
        self.register_buffer("turns", torch.stack([angles.cos(), angles.sin()], -1), False)

    def forward(self, x: Tensor, start_pos: int = 0) -> Tensor:
        """(B, T, dim) -> (B, T, dim)."""
        shape = (*x.shape[:2], self.n_heads, self.head_dim)
        q, k, v = self.wq(x).view(shape), self.wk(x).view(shape), self.wv(x).view(shape)
        turns = self.turns[start_pos : start_pos + x.shape[1], None].to(x)
        q, k = self._turned(q, turns), self._turned(k, turns)
        out = functional.scaled_dot_product_attention(
            q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), is_causal=True
        )
        output: Tensor = self.wo(out.transpose(1, 2).flatten(2))
        return output

    @staticmethod
    def _turned(x: Tensor, turns: Tensor) -> Tensor:
        pairs = torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous())
        return torch.view_as_real(pairs * torch.view_as_complex(turns.contiguous())).flatten(-2)


@right("rotary-with-given-angles", pairs="halves")
class RotaryWithGivenAngles(nn.Module):
    """The caller gives cosines and sines, (T, D), as the layers of a library share them."""

    def __init__(self, d_model: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.qkv_proj = nn.Linear(d_model, 3 * d_model)
        self.out_proj = nn.Linear(d_model, d_model)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """(B, T, d_model), (T, D) twice -> (B, T, d_model)."""
        q, k, v = self.qkv_proj(x).unflatten(-1, (3, self.n_heads, -1)).permute(2, 0, 3, 1, 4)
        q, k = q * cos + self._half(q) * sin, k * cos + self._half(k) * sin
        scores = q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5
        scores = scores + torch.full(scores.shape[-2:], -torch.inf, dtype=x.dtype).triu(1)
        output: Tensor = self.out_proj((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))
        return output

    @staticmethod
    def _half(x: Tensor) -> Tensor:
        half = x.shape[-1] // 2
        return torch.cat([-x[..., half:], x[..., :half]], dim=-1)


@right("rotary-backwards", pairs="halves", turns="backwards")
class RotaryBackwards(PlainRotary):
    """Queries and keys turn the other way: what they depend on is the distance all the same."""

    def rotate(self, heads: Tensor, angles: Tensor) -> Tensor:
        """(B, H, T, D), each pair turned by minus its angle."""
        return super().rotate(heads, -angles)


@right("rotary-of-a-part", pairs="halves", part="half")
class RotaryOfAPart(PlainRotary):
    """The first half of a head is rotated, the rest left as it is."""

    def table(self, positions: int, base: float) -> Tensor:
        """(positions, D / 4), the angle of each pair at each position."""
        part = self.head_dim // 2
        steps = torch.arange(0, part, 2).double() / part
        return torch.outer(torch.arange(positions).double(), base**-steps)

    def rotate(self, heads: Tensor, angles: Tensor) -> Tensor:
        """(B, H, T, D), of which the first half is turned."""
        part, rest = heads.chunk(2, dim=-1)
        return torch.cat([super().rotate(part, angles), rest], dim=-1)
