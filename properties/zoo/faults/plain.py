"""The plain modules that faults change: every step of attention is one method to override.

Legend: B batch, T tokens, H heads, D head_dim, W = H * D.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class PlainMultiHead(nn.Module):
    """Multi-head causal attention with weight splits, as small as it can be."""

    mask: Tensor

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
        if d_out % num_heads:
            raise ValueError(f"d_out {d_out} is not divisible by num_heads {num_heads}")
        if not 0.0 <= dropout <= 1.0:
            raise ValueError(f"dropout {dropout} is not between 0 and 1")
        self.d_in, self.d_out, self.num_heads = d_in, d_out, num_heads
        self.head_dim = d_out // num_heads
        self.context_length = context_length
        self.W_query = nn.Linear(d_in, d_out, bias=qkv_bias)
        self.W_key = nn.Linear(d_in, d_out, bias=qkv_bias)
        self.W_value = nn.Linear(d_in, d_out, bias=qkv_bias)
        self.out_proj = nn.Linear(d_out, d_out)
        self.dropout = nn.Dropout(dropout)
        future = torch.ones(context_length, context_length).triu(diagonal=1)
        self.register_buffer("mask", future.bool())

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, d_in) -> (B, T, W)."""
        self.validate(x)
        queries, keys, values = (self.split(part) for part in self.project(x))
        scores = self.hide(self.scale(self.score(queries, keys)))
        weights = self.drop(self.normalise(scores))
        return self.finish(self.merge(self.mix(weights, values)))

    def validate(self, x: Tensor) -> None:
        """Refuse what the spec says must be refused."""
        if x.dim() != 3 or x.shape[-1] != self.d_in:
            raise ValueError(f"input {tuple(x.shape)}: expected (B, T, {self.d_in})")
        if x.shape[1] > self.context_length:
            raise ValueError(f"{x.shape[1]} tokens: at most {self.context_length} fit")

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, each (B, T, W)."""
        return self.W_query(x), self.W_key(x), self.W_value(x)

    def split(self, x: Tensor) -> Tensor:
        """(B, T, W) -> (B, H, T, D)."""
        return x.view(*x.shape[:2], self.num_heads, self.head_dim).transpose(1, 2)

    def score(self, queries: Tensor, keys: Tensor) -> Tensor:
        """(B, H, T, D) twice -> (B, H, T, T)."""
        return queries @ keys.transpose(-2, -1)

    def scale(self, scores: Tensor) -> Tensor:
        """Scores over the root of head_dim."""
        return scores / self.head_dim**0.5

    def hidden(self, tokens: int) -> Tensor:
        """(T, T), true where a key is hidden."""
        mask: Tensor = self.mask
        return mask[:tokens, :tokens].bool()

    def hide(self, scores: Tensor) -> Tensor:
        """Minus infinity where a key is hidden."""
        return scores.masked_fill(self.hidden(scores.shape[-1]), -torch.inf)

    def normalise(self, scores: Tensor) -> Tensor:
        """Softmax over the keys."""
        return torch.softmax(scores, dim=-1)

    def drop(self, weights: Tensor) -> Tensor:
        """Dropout on the attention weights."""
        dropped: Tensor = self.dropout(weights)
        return dropped

    def mix(self, weights: Tensor, values: Tensor) -> Tensor:
        """(B, H, T, T), (B, H, T, D) -> (B, H, T, D)."""
        return weights @ values

    def merge(self, context: Tensor) -> Tensor:
        """(B, H, T, D) -> (B, T, W)."""
        return context.transpose(1, 2).flatten(2)

    def finish(self, context: Tensor) -> Tensor:
        """The output projection."""
        projected: Tensor = self.out_proj(context)
        return projected


class PlainCausal(PlainMultiHead):
    """One causal head without an output projection."""

    def __init__(
        self, d_in: int, d_out: int, context_length: int, dropout: float, qkv_bias: bool = False
    ) -> None:
        super().__init__(d_in, d_out, context_length, dropout, 1, qkv_bias)
        del self.out_proj

    def finish(self, context: Tensor) -> Tensor:
        """The context itself."""
        return context


class PlainWrapper(nn.Module):
    """Causal heads side by side."""

    head: type[PlainCausal] = PlainCausal

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
        self.heads = nn.ModuleList(
            self.head(d_in, d_out, context_length, dropout, qkv_bias) for _ in range(num_heads)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, d_in) -> (B, T, H * d_out)."""
        return self.join([head(x) for head in self.heads])

    def join(self, parts: list[Tensor]) -> Tensor:
        """Each (B, T, D), together (B, T, H * D)."""
        return torch.cat(parts, dim=-1)


class PlainSelf(nn.Module):
    """One head with projections and nothing hidden, for one sequence or a batch of them."""

    def __init__(self, d_in: int, d_out: int, qkv_bias: bool = False) -> None:
        super().__init__()
        self.d_in, self.d_out = d_in, d_out
        self.W_query = nn.Linear(d_in, d_out, bias=qkv_bias)
        self.W_key = nn.Linear(d_in, d_out, bias=qkv_bias)
        self.W_value = nn.Linear(d_in, d_out, bias=qkv_bias)

    def forward(self, x: Tensor) -> Tensor:
        """([B,] T, d_in) -> ([B,] T, W)."""
        self.validate(x)
        queries, keys, values = self.W_query(x), self.W_key(x), self.W_value(x)
        weights = self.normalise(self.scale(self.score(queries, keys)))
        return self.finish(self.mix(weights, values))

    def validate(self, x: Tensor) -> None:
        """Refuse what the spec says must be refused."""
        if x.dim() not in (2, 3) or x.shape[-1] != self.d_in:
            raise ValueError(f"input {tuple(x.shape)}: expected ([B,] T, {self.d_in})")

    def score(self, queries: Tensor, keys: Tensor) -> Tensor:
        """([B,] T, W) twice -> ([B,] T, T)."""
        return queries @ keys.transpose(-2, -1)

    def scale(self, scores: Tensor) -> Tensor:
        """Scores over the root of the width."""
        scaled: Tensor = scores / self.d_out**0.5
        return scaled

    def normalise(self, scores: Tensor) -> Tensor:
        """Softmax over the keys."""
        return torch.softmax(scores, dim=-1)

    def mix(self, weights: Tensor, values: Tensor) -> Tensor:
        """([B,] T, T), ([B,] T, W) -> ([B,] T, W)."""
        return weights @ values

    def finish(self, context: Tensor) -> Tensor:
        """The context itself."""
        return context


class PlainSimplified(nn.Module):
    """Self-attention without parameters, scale or mask, for one sequence or a batch of them."""

    def forward(self, x: Tensor) -> Tensor:
        """([B,] T, d_in) -> ([B,] T, d_in)."""
        self.validate(x)
        return self.finish(self.mix(self.normalise(self.score(x, x)), x))

    def validate(self, x: Tensor) -> None:
        """Refuse what the spec says must be refused."""
        if x.dim() not in (2, 3):
            raise ValueError(f"input {tuple(x.shape)}: expected ([B,] T, d_in)")

    def score(self, queries: Tensor, keys: Tensor) -> Tensor:
        """([B,] T, d_in) twice -> ([B,] T, T)."""
        return queries @ keys.transpose(-2, -1)

    def normalise(self, scores: Tensor) -> Tensor:
        """Softmax over the keys."""
        return torch.softmax(scores, dim=-1)

    def mix(self, weights: Tensor, values: Tensor) -> Tensor:
        """([B,] T, T), ([B,] T, d_in) -> ([B,] T, d_in)."""
        return weights @ values

    def finish(self, context: Tensor) -> Tensor:
        """The context itself."""
        return context


def rotated(part: Tensor) -> Tensor:
    """`part` (..., T, D) turned by its position, the first half of its columns with the second."""
    half = part.shape[-1] // 2
    angles = torch.arange(part.shape[-2], dtype=part.dtype)[:, None]
    cosine, sine = angles.cos(), angles.sin()
    first, second, rest = part[..., :half], part[..., half : 2 * half], part[..., 2 * half :]
    return torch.cat([first * cosine - second * sine, first * sine + second * cosine, rest], dim=-1)
