"""One head: simplified, trainable, causal.

Legend: B batch, T tokens.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from properties.zoo.rights import right
from properties.zoo.rights.common import require, require_batch, require_probability, require_rows


@right("simplified-token-by-token", "plain")
class LoopedAttention(nn.Module):
    """One query after the other, for one sequence or each of a batch."""

    def forward(self, x: Tensor) -> Tensor:
        """([B,] T, d_in) -> ([B,] T, d_in)."""
        require(x.ndim in (2, 3), f"input has {x.ndim} axes, expected 2 or 3")
        rows = []
        for token in range(x.shape[-2]):
            scores = (x * x[..., token, None, :]).sum(-1)
            rows.append((scores.softmax(-1)[..., None] * x).sum(-2))
        return torch.stack(rows, dim=-2)


@right("simplified-by-einsum", "plain")
class EinsumSimplifiedAttention(nn.Module):
    """Two einsums with an ellipsis."""

    def forward(self, x: Tensor) -> Tensor:
        """([B,] T, d_in) -> ([B,] T, d_in)."""
        require(x.ndim in (2, 3), f"input has {x.ndim} axes, expected 2 or 3")
        scores = torch.einsum("...qd,...kd->...qk", x, x)
        exponentials = torch.exp(scores - scores.amax(dim=-1, keepdim=True))
        weights = exponentials / exponentials.sum(dim=-1, keepdim=True)
        return torch.einsum("...qk,...kd->...qd", weights, x)


@right("simplified-as-a-function", "plain")
def simplified_attention(x: Tensor) -> Tensor:
    """A function of one sequence, on the kernel with a scale of one."""
    require(x.ndim == 2, f"input has {x.ndim} axes, expected 2")
    return F.scaled_dot_product_attention(x, x, x, scale=1.0)


@right("trainable-matrices", "self")
class MatrixSelfAttention(nn.Module):
    """Three matrices applied from the right; one sequence at a time."""

    def __init__(self, d_in: int, d_out: int) -> None:
        super().__init__()
        self.W_q = nn.Parameter(torch.randn(d_in, d_out))
        self.W_k = nn.Parameter(torch.randn(d_in, d_out))
        self.W_v = nn.Parameter(torch.randn(d_in, d_out))

    def forward(self, x: Tensor) -> Tensor:
        """(T, d_in) -> (T, d_out)."""
        require(x.ndim == 2, f"input has {x.ndim} axes, expected 2")
        require_rows(x, len(self.W_q))
        queries, keys, values = x.mm(self.W_q), x.mm(self.W_k), x.mm(self.W_v)
        return F.softmax(queries.mm(keys.t()) / math.sqrt(keys.size(1)), dim=1).mm(values)


@right("trainable-on-the-kernel", "self")
class KernelSelfAttention(nn.Module):
    """One layer for all three, and PyTorch's kernel."""

    def __init__(self, input_dim: int, output_dim: int, bias: bool = False) -> None:
        super().__init__()
        self.input_dim = input_dim
        self.qkv = nn.Linear(input_dim, output_dim * 3, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """([B,] T, d_in) -> ([B,] T, d_out)."""
        require_rows(x, self.input_dim)
        queries, keys, values = self.qkv(x).tensor_split(3, dim=-1)
        return F.scaled_dot_product_attention(queries, keys, values)


@right("causal-row-by-row", "causal")
class RowByRowCausalAttention(nn.Module):
    """Each query with the keys up to its own place."""

    def __init__(
        self, d_in: int, d_out: int, context_length: int, dropout: float, qkv_bias: bool = False
    ) -> None:
        super().__init__()
        require_probability(dropout)
        self.d_in, self.context_length = d_in, context_length
        self.query, self.key, self.value = (nn.Linear(d_in, d_out, qkv_bias) for _ in range(3))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, d_in) -> (B, T, d_out)."""
        require_batch(x, self.d_in, self.context_length)
        queries, keys, values = self.query(x), self.key(x), self.value(x)
        rows = []
        for stop in range(1, x.shape[1] + 1):
            scores = torch.einsum("bd,bkd->bk", queries[:, stop - 1], keys[:, :stop])
            weights = self.dropout(torch.softmax(scores / math.sqrt(keys.shape[-1]), dim=-1))
            rows.append(torch.einsum("bk,bkd->bd", weights, values[:, :stop]))
        return torch.stack(rows, dim=1)


@right("causal-as-nano-gpt-has-a-head", "causal")
class Head(nn.Module):
    """The head of a well-known lecture: `tril` is a buffer, the scale a power."""

    def __init__(self, n_embd: int, head_size: int, block_size: int, dropout: float) -> None:
        super().__init__()
        require_probability(dropout)
        self.key = nn.Linear(n_embd, head_size, bias=False)
        self.query = nn.Linear(n_embd, head_size, bias=False)
        self.value = nn.Linear(n_embd, head_size, bias=False)
        self.register_buffer("tril", torch.tril(torch.ones(block_size, block_size)))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, n_embd) -> (B, T, head_size)."""
        require_batch(x, self.key.in_features, len(self.tril))
        _, tokens, _ = x.shape
        k, q = self.key(x), self.query(x)
        wei = q @ k.transpose(-2, -1) * k.shape[-1] ** -0.5
        wei = wei.masked_fill(self.tril[:tokens, :tokens] == 0, float("-inf"))
        return self.dropout(F.softmax(wei, dim=-1)) @ self.value(x)


@right("causal-with-a-mask-of-infinities", "causal")
class InfiniteMaskCausalAttention(nn.Module):
    """A buffer of zeros and minus infinities that moves with the module."""

    def __init__(self, d_in: int, d_out: int, max_len: int, drop: float = 0.0, bias: bool = True):
        super().__init__()
        require_probability(drop)
        self.d_in, self.scale = d_in, d_out**-0.5
        self.to_qkv = nn.Linear(d_in, 3 * d_out, bias)
        self.drop = nn.Dropout(drop)
        self.register_buffer("mask", torch.full((max_len, max_len), -torch.inf).triu(1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, d_in) -> (B, T, d_out)."""
        require_batch(x, self.d_in, len(self.mask))
        tokens = x.shape[1]
        queries, keys, values = self.to_qkv(x).chunk(3, dim=-1)
        scores = torch.baddbmm(self.mask[:tokens, :tokens], queries, keys.mT, alpha=self.scale)
        return torch.bmm(self.drop(scores.softmax(-1)), values)
