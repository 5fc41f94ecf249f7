"""Heads side by side, each d_out wide.

Legend: B batch, T tokens, H heads, D the width of one head.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from properties.zoo.rights import right
from properties.zoo.rights.common import future, require, require_batch, require_probability
from properties.zoo.rights.single import Head, RowByRowCausalAttention


@right("wrapper-of-stacked-matrices", "wrapper")
class StackedHeadsAttention(nn.Module):
    """All heads' matrices in one tensor for each role, (H, d_in, D); einsum does the rest."""

    def __init__(
        self, d_in: int, d_out: int, context_length: int, dropout: float, num_heads: int
    ) -> None:
        super().__init__()
        require_probability(dropout)
        self.context_length = context_length
        self.W_query, self.W_key, self.W_value = (
            nn.Parameter(torch.randn(num_heads, d_in, d_out) / d_in**0.5) for _ in range(3)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, d_in) -> (B, T, H * D)."""
        require_batch(x, self.W_query.shape[1], self.context_length)
        queries, keys, values = (
            torch.einsum("btc,hcd->bhtd", x, weight)
            for weight in (self.W_query, self.W_key, self.W_value)
        )
        scores = torch.einsum("bhqd,bhkd->bhqk", queries, keys) / keys.shape[-1] ** 0.5
        weights = scores.masked_fill(future(x.shape[1]), -torch.inf).softmax(-1)
        context = torch.einsum("bhqk,bhkd->bqhd", self.dropout(weights), values)
        return context.flatten(2)


@right("wrapper-that-writes-columns", "wrapper")
class WritingHeadsAttention(nn.Module):
    """A list of heads, each of which fills its own columns."""

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
        require(num_heads > 0, f"num_heads is {num_heads}, expected at least 1")
        self.d_in, self.d_out, self.context_length = d_in, d_out, context_length
        self.heads = nn.ModuleList(
            RowByRowCausalAttention(d_in, d_out, context_length, dropout, qkv_bias)
            for _ in range(num_heads)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, d_in) -> (B, T, H * D)."""
        require_batch(x, self.d_in, self.context_length)
        columns = [head(x).unbind(-1) for head in self.heads]
        return torch.stack([column for head in columns for column in head], dim=-1)


@right(
    "heads-of-the-lecture-side-by-side",
    unmet=("projection/there-is-an-output-projection",),  # it follows in the block
)
class MultiHead(nn.Module):
    """Heads of the lecture, concatenated, without the projection that follows there."""

    def __init__(
        self, num_heads: int, head_size: int, n_embd: int, block_size: int, dropout: float
    ) -> None:
        super().__init__()
        self.heads = nn.ModuleList(
            [Head(n_embd, head_size, block_size, dropout) for _ in range(num_heads)]
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, n_embd) -> (B, T, num_heads * head_size)."""
        return torch.cat([head(x) for head in self.heads], dim=-1)


@right("wrapper-in-one-product", "wrapper")
class OneProductWrapperAttention(nn.Module):
    """One wide layer for all heads and roles; the kernel sees H heads."""

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
        require(0.0 <= dropout < 1.0, f"dropout is {dropout}, expected 0 to below 1")
        self.d_in, self.context_length, self.p = d_in, context_length, dropout
        self.shape = (3, num_heads, d_out)
        self.qkv = nn.Linear(d_in, 3 * num_heads * d_out, bias=qkv_bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, d_in) -> (B, T, H * D)."""
        require_batch(x, self.d_in, self.context_length)
        queries, keys, values = self.qkv(x).unflatten(-1, self.shape).permute(2, 0, 3, 1, 4)
        p = self.p if self.training else 0.0
        context = F.scaled_dot_product_attention(queries, keys, values, None, p, is_causal=True)
        return context.transpose(1, 2).flatten(2)
