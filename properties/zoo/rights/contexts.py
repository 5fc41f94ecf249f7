"""Heads that attend to a context, and hide nothing but what a mask of it hides.

Legend: B batch, T tokens of x, S tokens of the context, H heads, D head_dim.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from properties.zoo.rights import right
from properties.zoo.rights.common import require_batch, require_divisible, require_probability


@right("cross-in-one-matrix-for-keys-and-values", "cross")
class LatentAttention(nn.Module):
    """Latents ask what is said in a context of another width; the heads lead back to their width."""

    def __init__(
        self, query_dim: int, context_dim: int, heads: int = 8, dropout: float = 0.0
    ) -> None:
        super().__init__()
        require_divisible(query_dim, heads)
        require_probability(dropout)
        self.query_dim, self.heads = query_dim, heads
        self.to_q = nn.Linear(query_dim, query_dim, bias=False)
        self.to_kv = nn.Linear(context_dim, 2 * query_dim, bias=False)
        self.to_out = nn.Sequential(nn.Linear(query_dim, query_dim), nn.Dropout(0.0))
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor, context: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, T, query_dim), (B, S, context_dim), (B, S) or none -> (B, T, query_dim)."""
        require_batch(x, self.query_dim)
        keys, values = self.to_kv(context).chunk(2, dim=-1)
        q, k, v = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in (self.to_q(x), keys, values)
        )
        scores = torch.einsum("bhtd,bhsd->bhts", q, k) / q.shape[-1] ** 0.5
        if mask is not None:
            scores = scores.masked_fill(~mask[:, None, None], torch.finfo(scores.dtype).min)
        mixed = self.drop(scores.softmax(dim=-1)) @ v
        output: Tensor = self.to_out(mixed.transpose(1, 2).flatten(2))
        return output
