"""Heads that split d_out among them, and hide nothing.

Legend: B batch, T tokens, H heads, D head_dim, W = H * D.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from properties.zoo.rights import right
from properties.zoo.rights.common import require_batch, require_divisible, require_probability


@right("encoder-in-one-matrix", "encoder")
class VisionAttention(nn.Module):
    """One matrix for queries, keys and values, and torch's own attention, as for patches of an image."""

    def __init__(
        self, dim: int, num_heads: int, qkv_bias: bool = False, dropout: float = 0.0
    ) -> None:
        super().__init__()
        require_divisible(dim, num_heads)
        require_probability(dropout)
        self.dim, self.num_heads, self.p = dim, num_heads, dropout
        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, W) -> (B, T, W)."""
        require_batch(x, self.dim)
        parts = self.qkv(x).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        p = self.p if self.training else 0.0
        context = F.scaled_dot_product_attention(*parts, dropout_p=p)
        output: Tensor = self.proj(context.transpose(1, 2).flatten(2))
        return output


@right("encoder-head-by-head", "encoder")
class SentenceEncoder(nn.Module):
    """Heads in a list, cut from the columns; matrices that multiply from the right."""

    def __init__(self, d_in: int, d_out: int, num_heads: int) -> None:
        super().__init__()
        require_divisible(d_out, num_heads)
        self.d_in, self.num_heads = d_in, num_heads
        self.W_query, self.W_key, self.W_value = (
            nn.Parameter(torch.randn(d_in, d_out) / d_in**0.5) for _ in range(3)
        )
        self.out_proj = nn.Linear(d_out, d_out, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, d_in) -> (B, T, W)."""
        require_batch(x, self.d_in)
        matrices = self.W_query, self.W_key, self.W_value
        parts = ((x @ matrix).chunk(self.num_heads, dim=-1) for matrix in matrices)
        contexts = [
            torch.baddbmm(x.new_zeros(()), q, k.mT, beta=0, alpha=q.shape[-1] ** -0.5).softmax(-1)
            @ v
            for q, k, v in zip(*parts, strict=True)
        ]
        output: Tensor = self.out_proj(torch.cat(contexts, dim=-1))
        return output
