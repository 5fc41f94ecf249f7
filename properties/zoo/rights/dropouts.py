"""Dropout elsewhere than on the weights, and dropout that is shared by convention.

Legend: B batch, T tokens, H heads, D head_dim, W = H * D.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from properties import Config, Subject, Weights
from properties.zoo.rights import right
from properties.zoo.rights.common import SplitHeads, attend, future, require_divisible


@right("one-p-for-weights-and-output")
class ResidualDropoutAttention(SplitHeads):
    """The same p drops weights, and in a module of its own numbers of the output."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.resid_dropout = nn.Dropout(self.dropout.p)

    def forward(self, x: Tensor) -> Tensor:
        return self.resid_dropout(super().forward(x))

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        return attend(queries, keys, values, self.dropout)


@right("one-matrix-and-one-p-for-a-kernel-and-the-output")
class FusedResidualAttention(nn.Module):
    """All projections in one layer, dropout by the kernel, and another dropout at the end."""

    def __init__(
        self, n_embd: int, n_head: int, block_size: int, dropout: float = 0.0, bias: bool = True
    ) -> None:
        super().__init__()
        require_divisible(n_embd, n_head)
        self.c_attn = nn.Linear(n_embd, 3 * n_embd, bias=bias)
        self.c_proj = nn.Linear(n_embd, n_embd, bias=bias)
        self.last = nn.Dropout(dropout)
        self.n_head, self.n_embd, self.block_size, self.p = n_head, n_embd, block_size, dropout
        if dropout == 1.0:
            raise ValueError("dropout is 1, and a kernel divides by 1 - p")

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, W) -> (B, T, W)."""
        if x.ndim != 3 or x.shape[2] != self.n_embd or x.shape[1] > self.block_size:
            raise ValueError(
                f"input {tuple(x.shape)}, expected (B, up to {self.block_size}, {self.n_embd})"
            )
        shape = (*x.shape[:2], self.n_head, self.n_embd // self.n_head)
        q, k, v = (
            part.view(shape).transpose(1, 2) for part in self.c_attn(x).split(self.n_embd, 2)
        )
        p = self.p if self.training else 0.0
        context = F.scaled_dot_product_attention(q, k, v, dropout_p=p, is_causal=True)
        return self.last(self.c_proj(context.transpose(1, 2).reshape(x.shape)))


class SharedDropoutAttention(SplitHeads):
    """One pattern (T, T) for all items and heads."""

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        scores = queries @ keys.mT / self.head_dim**0.5
        weights = scores.masked_fill(future(scores.shape[-1]), -torch.inf).softmax(-1)
        return weights * self.dropout(torch.ones_like(weights[:1, :1])) @ values


@right("dropout-shared-by-declaration")
class SharedDropout(Subject):
    """As flax drops, by design; the adapter says so."""

    family = "multihead"
    capabilities = frozenset(
        {"projections", "out-projection", "out-bias", "qkv-bias", "dropout", "context-length"}
        | {"rectangular", "batched", "module"}
    )
    dtypes = ("float64", "float32", "bfloat16", "float16")
    dropout_shared = ("batch", "heads")

    def build(self, config: Config, weights: Weights | None) -> nn.Module:
        """The module with these weights."""
        s = config.sizes
        torch.manual_seed(config.seed)
        module = SharedDropoutAttention(
            s.d_in, config.width, s.context_length, config.dropout, s.heads, config.bias
        ).to(getattr(torch, config.dtype))
        if weights is not None:
            with torch.no_grad():
                for name, layer in (
                    ("query", module.W_query),
                    ("key", module.W_key),
                    ("value", module.W_value),
                    ("out", module.out_proj),
                ):
                    layer.weight.copy_(torch.tensor(getattr(weights, name).T))
                    bias = getattr(weights, f"{name}_bias")
                    if bias is not None:
                        layer.bias.copy_(torch.tensor(bias))
        return module
