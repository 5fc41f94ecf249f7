"""How heads are cut, where their axis lies, and how their matrices are kept.

Legend: B batch, T tokens, H heads, D head_dim, W = H * D.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from properties.basics.dtypes import Array
from properties.subjects.subject import Config, Subject
from properties.truth.parameters import Weights
from properties.zoo.rights import right
from properties.zoo.rights.common import (
    SplitHeads,
    attend,
    future,
    require_batch,
    require_divisible,
    require_probability,
)


@right("loop-over-heads")
class HeadLoopAttention(SplitHeads):
    """One head after the other, its columns cut from the projections."""

    def forward(self, x: Tensor) -> Tensor:
        require_batch(x, self.d_in, self.context_length)
        projected = self.W_query(x), self.W_key(x), self.W_value(x)
        contexts = []
        for head in range(self.num_heads):
            own = slice(head * self.head_dim, (head + 1) * self.head_dim)
            contexts.append(attend(*(part[:, :, own] for part in projected), self.dropout))
        return self.out_proj(torch.cat(contexts, dim=-1))


@right("einsum")
class EinsumAttention(SplitHeads):
    """Every product an einsum; no axis is ever moved."""

    def forward(self, x: Tensor) -> Tensor:
        require_batch(x, self.d_in, self.context_length)
        shape = (*x.shape[:2], self.num_heads, self.head_dim)
        queries, keys, values = (
            layer(x).view(shape) for layer in (self.W_query, self.W_key, self.W_value)
        )
        scores = torch.einsum("bqhd,bkhd->bhqk", queries, keys) / self.head_dim**0.5
        weights = scores.masked_fill(future(x.shape[1]), -torch.inf).softmax(-1)
        context = torch.einsum("bhqk,bkhd->bqhd", self.dropout(weights), values)
        return self.out_proj(context.flatten(2))


@right("heads-in-the-batch")
class FlatBatchAttention(SplitHeads):
    """Batch and heads are one axis of B * H, for `torch.bmm`."""

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        batch, heads, tokens, width = queries.shape
        flat = (part.reshape(batch * heads, tokens, width) for part in (queries, keys, values))
        queries, keys, values = flat
        scores = torch.bmm(queries, keys.transpose(1, 2)) / width**0.5
        weights = scores.masked_fill(future(tokens), -torch.inf).softmax(-1)
        return torch.bmm(self.dropout(weights), values).view(batch, heads, tokens, width)


@right("heads-before-the-batch")
class HeadsFirstAttention(SplitHeads):
    """The heads' axis comes first, (H, B, T, D), and is cut again at the end."""

    def forward(self, x: Tensor) -> Tensor:
        require_batch(x, self.d_in, self.context_length)
        layers = (self.W_query, self.W_key, self.W_value)
        stacked = (torch.stack(layer(x).split(self.head_dim, dim=2)) for layer in layers)
        context = attend(*stacked, self.dropout)
        return self.out_proj(torch.cat(context.unbind(0), dim=-1))


@right("tokens-before-the-batch")
class TokensFirstAttention(SplitHeads):
    """Sequence first, (T, B * H, D), as recurrent layers have it."""

    def forward(self, x: Tensor) -> Tensor:
        require_batch(x, self.d_in, self.context_length)
        batch, tokens, _ = x.shape
        turned = x.transpose(0, 1)
        shape = (tokens, batch * self.num_heads, self.head_dim)
        layers = (self.W_query, self.W_key, self.W_value)
        parts = (layer(turned).reshape(shape).transpose(0, 1) for layer in layers)
        context = attend(*parts, self.dropout).transpose(0, 1)
        return self.out_proj(context.reshape(tokens, batch, self.d_out)).transpose(0, 1)


@right("mapped-over-heads")
class MappedHeadsAttention(SplitHeads):
    """One head's attention, mapped over the heads' axis."""

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        def single(*parts: Tensor) -> Tensor:
            return attend(*parts, self.dropout)

        # Heads go first by hand: torch.export cannot trace in_dims=1.
        parts = (part.transpose(0, 1) for part in (queries, keys, values))
        return torch.vmap(single, randomness="different")(*parts).transpose(0, 1)


@right("keys-kept-transposed")
class TransposedKeysAttention(SplitHeads):
    """Keys are made as columns, W_key x^T, and kept as (B, H, D, T)."""

    def forward(self, x: Tensor) -> Tensor:
        require_batch(x, self.d_in, self.context_length)
        batch, tokens, _ = x.shape
        keys = self.W_key.weight @ x.mT  # (B, W, T)
        if self.W_key.bias is not None:
            keys = keys + self.W_key.bias[:, None]
        keys = keys.contiguous().view(batch, self.num_heads, self.head_dim, tokens)
        queries, values = (
            layer(x).unflatten(2, (self.num_heads, self.head_dim)).transpose(1, 2)
            for layer in (self.W_query, self.W_value)
        )
        scores = torch.matmul(queries, keys) / self.head_dim**0.5
        weights = scores.masked_fill(future(tokens), -torch.inf).softmax(-1)
        context = self.dropout(weights) @ values
        return self.out_proj(context.transpose(1, 2).flatten(2))


@right("matrices-joined-at-each-call")
class JoinedMatricesAttention(SplitHeads):
    """Three layers are kept, one product is made."""

    def forward(self, x: Tensor) -> Tensor:
        require_batch(x, self.d_in, self.context_length)
        layers = (self.W_query, self.W_key, self.W_value)
        weight = torch.cat([layer.weight for layer in layers])
        biases = [layer.bias for layer in layers if layer.bias is not None]
        joined = F.linear(x, weight, torch.cat(biases) if biases else None)
        shape = (self.num_heads, self.head_dim)
        parts = (part.unflatten(2, shape).transpose(1, 2) for part in joined.chunk(3, dim=-1))
        return self.out_proj(attend(*parts, self.dropout).transpose(1, 2).flatten(2))


class FusedHeads(nn.Module):
    """One layer makes queries, keys and values; each implementation cuts it in its own way."""

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
        self.d_in, self.context_length = d_in, context_length
        self.num_heads, self.head_dim = num_heads, d_out // num_heads
        self.qkv = nn.Linear(d_in, 3 * d_out, bias=qkv_bias)
        self.proj = nn.Linear(d_out, d_out)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, d_in) -> (B, T, W)."""
        require_batch(x, self.d_in, self.context_length)
        context = attend(*self.cut(self.qkv(x)), self.dropout)
        return self.proj(context.transpose(1, 2).flatten(2))

    def cut(self, joined: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, T, 3 * W) -> three times (B, H, T, D)."""
        raise NotImplementedError


@right("one-layer-cut-by-chunk")
class ChunkedAttention(FusedHeads):
    """Thirds first, then heads."""

    def cut(self, joined: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        shape = (*joined.shape[:2], self.num_heads, self.head_dim)
        queries, keys, values = (part.view(shape).transpose(1, 2) for part in joined.chunk(3, -1))
        return queries, keys, values


@right("one-layer-cut-at-once")
class PermutedAttention(FusedHeads):
    """All five axes in one view, (B, T, 3, H, D), and one permutation."""

    def cut(self, joined: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        parts = joined.view(*joined.shape[:2], 3, self.num_heads, self.head_dim)
        queries, keys, values = parts.permute(2, 0, 3, 1, 4)
        return queries, keys, values


@right("one-layer-head-by-head")
class HeadByHeadAttention(FusedHeads):
    """Each head's three parts side by side, (B, T, H, 3 * D)."""

    def cut(self, joined: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        parts = joined.view(*joined.shape[:2], self.num_heads, 3 * self.head_dim)
        queries, keys, values = parts.transpose(1, 2).split(self.head_dim, dim=-1)
        return queries, keys, values


@right("queries-apart-from-keys-and-values")
class KeysWithValuesAttention(nn.Module):
    """One layer for queries, one for keys and values together."""

    def __init__(self, dim: int, heads: int, dropout: float = 0.0, bias: bool = False) -> None:
        super().__init__()
        require_divisible(dim, heads)
        require_probability(dropout)
        self.dim, self.heads = dim, heads
        self.to_q = nn.Linear(dim, dim, bias=bias)
        self.to_kv = nn.Linear(dim, dim * 2, bias=bias)
        self.to_out = nn.Sequential(nn.Linear(dim, dim), nn.Identity())
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, W) -> (B, T, W), for any number of tokens."""
        require_batch(x, self.dim)
        parts = (self.to_q(x), *self.to_kv(x).chunk(2, dim=-1))
        shape = (self.heads, self.dim // self.heads)
        split = (part.unflatten(-1, shape).transpose(1, 2) for part in parts)
        return self.to_out(attend(*split, self.drop).transpose(1, 2).flatten(2))


@right("layers-for-each-head")
class ListedLayersAttention(nn.Module):
    """Each head has three narrow layers of its own; one output projection for all."""

    def __init__(self, d_model: int, num_heads: int, max_len: int, dropout: float = 0.1) -> None:
        super().__init__()
        require_divisible(d_model, num_heads)
        require_probability(dropout)
        width = d_model // num_heads
        self.d_model, self.max_len = d_model, max_len
        self.queries, self.keys, self.values = (
            nn.ModuleList(nn.Linear(d_model, width, bias=False) for _ in range(num_heads))
            for _ in range(3)
        )
        self.w_o = nn.Linear(d_model, d_model, bias=False)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, W) -> (B, T, W)."""
        require_batch(x, self.d_model, self.max_len)
        heads = zip(self.queries, self.keys, self.values, strict=True)
        contexts = [attend(*(layer(x) for layer in head), self.dropout) for head in heads]
        return self.w_o(torch.cat(contexts, dim=-1))


@right("matrices-applied-from-the-right")
class MatrixAttention(nn.Module):
    """Plain matrices, x @ W, and vectors added to the products."""

    def __init__(self, d_in: int, d_out: int, context_length: int, dropout: float, num_heads: int):
        super().__init__()
        require_divisible(d_out, num_heads)
        require_probability(dropout)
        self.num_heads, self.context_length, self.p = num_heads, context_length, dropout
        self.W_q, self.W_k, self.W_v = (
            nn.Parameter(torch.randn(d_in, d_out) / d_in**0.5) for _ in range(3)
        )
        self.b_q, self.b_k, self.b_v = (nn.Parameter(torch.zeros(d_out)) for _ in range(3))
        self.W_o = nn.Parameter(torch.randn(d_out, d_out) / d_out**0.5)
        self.b_o = nn.Parameter(torch.zeros(d_out))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, d_in) -> (B, T, W)."""
        require_batch(x, len(self.W_q), self.context_length)
        pairs = ((self.W_q, self.b_q), (self.W_k, self.b_k), (self.W_v, self.b_v))
        shape = (self.num_heads, len(self.b_q) // self.num_heads)
        parts = ((x @ weight + bias).unflatten(2, shape).transpose(1, 2) for weight, bias in pairs)
        return attend(*parts, self.dropout).transpose(1, 2).flatten(2) @ self.W_o + self.b_o


class Conv1D(nn.Module):
    """A linear layer whose weight lies (in, out), as GPT-2's checkpoints have it."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(inside, outside) * 0.02)
        self.bias = nn.Parameter(torch.zeros(outside))

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) -> (..., out)."""
        flat = torch.addmm(self.bias, x.reshape(-1, x.shape[-1]), self.weight)
        return flat.view(*x.shape[:-1], self.weight.shape[1])


@right("weights-as-gpt-2-keeps-them")
class TransposedWeightsAttention(nn.Module):
    """`c_attn` and `c_proj` with weights (in, out), the mask in a buffer called bias."""

    def __init__(self, n_embd: int, n_head: int, n_ctx: int, attn_pdrop: float = 0.1) -> None:
        super().__init__()
        require_divisible(n_embd, n_head)
        require_probability(attn_pdrop)
        self.n_embd, self.n_head, self.n_ctx = n_embd, n_head, n_ctx
        self.c_attn = Conv1D(n_embd, 3 * n_embd)
        self.c_proj = Conv1D(n_embd, n_embd)
        self.attn_dropout = nn.Dropout(attn_pdrop)
        self.register_buffer("bias", torch.tril(torch.ones(1, 1, n_ctx, n_ctx)).bool())

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, W) -> (B, T, W)."""
        require_batch(x, self.n_embd, self.n_ctx)
        batch, tokens, width = x.shape
        shape = (batch, tokens, self.n_head, width // self.n_head)
        parts = self.c_attn(x).split(width, dim=2)
        queries, keys, values = (part.view(shape).transpose(1, 2) for part in parts)
        scores = queries @ keys.transpose(-2, -1) * (1.0 / keys.shape[-1] ** 0.5)
        hidden = self.bias[:, :, :tokens, :tokens].logical_not()
        weights = self.attn_dropout(F.softmax(scores.masked_fill(hidden, -torch.inf), dim=-1))
        return self.c_proj((weights @ values).transpose(1, 2).reshape(batch, tokens, width))


class InterleavedHeads(SplitHeads):
    """Head h owns every H-th column, from column h on: (B, T, D, H)."""

    def forward(self, x: Tensor) -> Tensor:
        require_batch(x, self.d_in, self.context_length)
        parts = (
            layer(x).unflatten(2, (self.head_dim, self.num_heads)).permute(0, 3, 1, 2)
            for layer in (self.W_query, self.W_key, self.W_value)
        )
        context = attend(*parts, self.dropout)  # (B, H, T, D)
        return self.out_proj(context.permute(0, 2, 3, 1).flatten(2))


@right("heads-interleaved")
class InterleavedSubject(Subject):
    """Our columns go where the implementation has them; the output's own order is ours."""

    name = "heads-interleaved"
    family = "multihead"
    capabilities = frozenset(
        {
            "projections",
            "out-projection",
            "out-bias",
            "qkv-bias",
            "dropout",
            "context-length",
            "rectangular",
            "batched",
            "module",
        }
    )
    dtypes = ("float64", "float32", "bfloat16", "float16")

    def build(self, config: Config, weights: Weights | None) -> nn.Module:
        """The module with our columns in its order; its output columns are in ours."""
        sizes = config.sizes
        module = InterleavedHeads(
            sizes.d_in,
            config.width,
            sizes.context_length,
            config.dropout,
            sizes.heads,
            config.bias,
        ).to(getattr(torch, config.dtype))
        if weights is not None:
            order = columns(config)
            with torch.no_grad():
                for role in ("query", "key", "value"):
                    layer = getattr(module, f"W_{role}")
                    layer.weight.copy_(torch.tensor(getattr(weights, role).T[order]))
                    if config.bias:
                        layer.bias.copy_(torch.tensor(getattr(weights, f"{role}_bias")[order]))
                module.out_proj.weight.copy_(torch.tensor(weights.out.T[:, order]))
                module.out_proj.bias.copy_(torch.tensor(weights.out_bias))
        return module

    def collect(self, named: Mapping[str, Array], config: Config) -> Weights:
        """Back into our order."""
        back = np.argsort(columns(config))
        found = {"out": named["out_proj.weight"].T[back], "out_bias": named["out_proj.bias"]}
        for role in ("query", "key", "value"):
            found[role] = named[f"W_{role}.weight"].T[:, back]
            if config.bias:
                found[f"{role}_bias"] = named[f"W_{role}.bias"][back]
        return Weights(**found)


def columns(config: Config) -> NDArray[np.int64]:
    """At each place of the implementation's, which of our columns lies there."""
    heads, width = config.sizes.heads, config.sizes.head_dim
    return np.arange(heads * width).reshape(heads, width).T.reshape(-1)
