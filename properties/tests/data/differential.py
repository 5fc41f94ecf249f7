"""Differential attention in two spellings, a wrong one beside it, and what is none.

Legend: B batch, T tokens, H heads, D head_dim.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention


def weights(q: Tensor, k: Tensor, diagonal: int = 1) -> Tensor:
    """(..., T, D) twice -> (..., T, T)."""
    future = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool).triu(diagonal)
    return (q @ k.mT * q.shape[-1] ** -0.5).masked_fill(future, -torch.inf).softmax(-1)


class Projected(nn.Module):
    """Four projections."""

    def __init__(self, embed_dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q_proj = nn.Linear(embed_dim, embed_dim, bias=False)
        self.k_proj = nn.Linear(embed_dim, embed_dim, bias=False)
        self.v_proj = nn.Linear(embed_dim, embed_dim, bias=False)
        self.out_proj = nn.Linear(embed_dim, embed_dim, bias=False)

    def heads(self, x: Tensor, layer: nn.Module, count: int) -> Tensor:
        """(B, T, embed_dim) -> (B, count, T, D)."""
        projected: Tensor = layer(x)
        return projected.unflatten(-1, (count, -1)).transpose(1, 2)


class InPairsOfHeads(Projected):
    """Twice as many heads of queries and keys, lambda of four vectors, a norm of each head."""

    diagonal = 1

    def __init__(self, embed_dim: int, num_heads: int) -> None:
        super().__init__(embed_dim, num_heads)
        half = embed_dim // num_heads // 2
        self.lambda_q1, self.lambda_k1, self.lambda_q2, self.lambda_k2 = (
            nn.Parameter(torch.full((half,), number)) for number in (0.1, 0.2, -0.1, 0.3)
        )
        self.subln = nn.RMSNorm(2 * half)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, embed_dim) -> the same."""
        q, k = (self.heads(x, part, 2 * self.num_heads) for part in (self.q_proj, self.k_proj))
        both = weights(q, k, self.diagonal).unflatten(1, (self.num_heads, 2))
        one, other = ((a * b).sum().exp() for a, b in self.pairs())
        context = (both[:, :, 0] - (one - other + 0.2) * both[:, :, 1]) @ self.heads(
            x, self.v_proj, self.num_heads
        )
        output: Tensor = self.out_proj(0.8 * self.subln(context).transpose(1, 2).flatten(2))
        return output

    def pairs(self) -> list[tuple[Tensor, Tensor]]:
        """What lambda is made of."""
        return [(self.lambda_q1, self.lambda_k1), (self.lambda_q2, self.lambda_k2)]


class InHalvesOfHeads(Projected):
    """Each head is split in two; the norm is computed in forward."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, embed_dim) -> the same."""
        lambda_init = 0.8
        q, k, v = (
            self.heads(x, p, self.num_heads) for p in (self.q_proj, self.k_proj, self.v_proj)
        )
        first, second = (
            weights(*pair) for pair in zip(q.chunk(2, -1), k.chunk(2, -1), strict=True)
        )
        context = (first - lambda_init * second) @ v
        context = context * (context.square().mean(-1, keepdim=True) + 1e-5).rsqrt()
        output: Tensor = self.out_proj(context.transpose(1, 2).flatten(2))
        return output


class SeesTheNextToken(InPairsOfHeads):
    """Wrong."""

    diagonal = 2


class ScaledByLambda(Projected):
    """Wrong, and no difference: values times lambda."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, embed_dim) -> the same."""
        lambda_v = 0.5
        q, k, v = (
            self.heads(x, p, self.num_heads) for p in (self.q_proj, self.k_proj, self.v_proj)
        )
        context = scaled_dot_product_attention(q, k, lambda_v * v, is_causal=True)
        output: Tensor = self.out_proj(context.transpose(1, 2).flatten(2))
        return output
