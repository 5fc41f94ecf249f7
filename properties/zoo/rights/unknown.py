"""Right attention whose matrices nobody recognises, so that its weights cannot be set.

Legend: B batch, T tokens, H heads, D head_dim.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from properties.zoo.rights import right
from properties.zoo.rights.common import (
    future,
    require_batch,
    require_divisible,
    require_probability,
)


class Product(nn.Module):
    """(..., n) -> (..., m); it is no layer of torch's."""

    def __init__(self, n: int, m: int) -> None:
        super().__init__()
        self.numbers, self.shift = nn.Parameter(torch.randn(n, m)), nn.Parameter(torch.zeros(m))

    def forward(self, x: Tensor) -> Tensor:
        """Multiplied, and shifted."""
        return x @ self.numbers + self.shift


@right("matrices-that-nobody-recognises")
class UnrecognisedAttention(nn.Module):
    """Scores are scaled before the product, or after it where the input lies in order; large ones are
    rounded differently then.
    """

    def __init__(
        self, d_in: int, d_out: int, context_length: int, dropout: float, num_heads: int
    ) -> None:
        super().__init__()
        require_divisible(d_out, num_heads)
        require_probability(dropout)
        self.d_in, self.context_length, self.num_heads = d_in, context_length, num_heads
        names = ("first", "second", "third")
        self.parts = nn.ModuleDict({name: Product(d_in, d_out) for name in names})
        self.last = nn.Linear(d_out, d_out)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, d_in) -> (B, T, W)."""
        require_batch(x, self.d_in, self.context_length)
        queries, keys, values = (
            layer(x).unflatten(2, (self.num_heads, -1)).transpose(1, 2)
            for layer in self.parts.values()
        )
        scale = queries.shape[-1] ** -0.5
        ordered = x.is_contiguous()
        scores = queries @ keys.mT * scale if ordered else (queries * scale) @ keys.mT
        weights = scores.masked_fill(future(x.shape[1]), -torch.inf).softmax(-1)
        return self.last((self.dropout(weights) @ values).transpose(1, 2).flatten(2))
