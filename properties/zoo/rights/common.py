"""What most right implementations share: layers, checks, and how tokens are cut into heads.

Legend: B batch, T tokens, H heads, D head_dim, W = H * D.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def require(condition: bool, text: str) -> None:
    """ValueError with the text unless the condition holds."""
    if not condition:
        raise ValueError(text)


def require_probability(dropout: float) -> None:
    """The dropout probability lies in [0, 1]."""
    require(0.0 <= dropout <= 1.0, f"dropout is {dropout}, expected 0 to 1")


def require_divisible(width: int, heads: int) -> None:
    """The heads share the width evenly."""
    require(width % heads == 0, f"{width} columns do not split into {heads} heads")


def require_batch(x: Tensor, d_in: int, longest: int | None = None) -> None:
    """The input is (B, T, d_in), with T up to `longest`."""
    require(x.ndim == 3, f"input {tuple(x.shape)} has {x.ndim} axes, expected (B, T, {d_in})")
    require(x.shape[2] == d_in, f"{x.shape[2]} columns, expected {d_in}")
    if longest is not None:
        require(x.shape[1] <= longest, f"{x.shape[1]} tokens, at most {longest} fit")


def require_rows(x: Tensor, d_in: int) -> None:
    """The input is (T, d_in) or (B, T, d_in)."""
    require(x.ndim in (2, 3), f"input has {x.ndim} axes, expected 2 or 3")
    require(x.shape[-1] == d_in, f"{x.shape[-1]} columns, expected {d_in}")


def future(tokens: int) -> Tensor:
    """(T, T), true where a key lies in the query's future."""
    return torch.ones(tokens, tokens, dtype=torch.bool).triu(1)


def attend(queries: Tensor, keys: Tensor, values: Tensor, drop: nn.Module) -> Tensor:
    """Causal attention over the last two axes, (..., T, D) three times to (..., T, D)."""
    scores = queries @ keys.mT / queries.shape[-1] ** 0.5
    return drop(scores.masked_fill(future(scores.shape[-1]), -torch.inf).softmax(-1)) @ values


class SplitHeads(nn.Module):
    """Everything of multi-head attention but its middle: `attend` is each implementation's own."""

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
        require_divisible(d_out, num_heads)
        require_probability(dropout)
        self.d_in, self.d_out, self.context_length = d_in, d_out, context_length
        self.num_heads, self.head_dim = num_heads, d_out // num_heads
        self.W_query = nn.Linear(d_in, d_out, bias=qkv_bias)
        self.W_key = nn.Linear(d_in, d_out, bias=qkv_bias)
        self.W_value = nn.Linear(d_in, d_out, bias=qkv_bias)
        self.out_proj = nn.Linear(d_out, d_out)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, d_in) -> (B, T, W)."""
        require_batch(x, self.d_in, self.context_length)
        queries, keys, values = (
            layer(x).unflatten(2, (self.num_heads, self.head_dim)).transpose(1, 2)
            for layer in (self.W_query, self.W_key, self.W_value)
        )
        context = self.attend(queries, keys, values)
        return self.out_proj(context.transpose(1, 2).reshape(*x.shape[:2], self.d_out))

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Three times (B, H, T, D) -> (B, H, T, D)."""
        raise NotImplementedError
