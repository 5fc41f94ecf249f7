"""Causal modules with fewer heads of keys and values than of queries: right ones and wrong ones.

Legend: B batch, T tokens, H heads, G heads of keys and values, D head_dim.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from properties.zoo.wide import held, sound


class PlainGrouped(nn.Module):
    """Head h reads group h // (H / G). A step is a method."""

    future: Tensor

    def __init__(
        self,
        d_model: int,
        n_heads: int,
        n_kv_heads: int,
        context_length: int,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if n_heads % n_kv_heads:
            raise ValueError(f"{n_heads} heads cannot share {n_kv_heads} heads of keys and values")
        self.n_heads, self.n_kv_heads = n_heads, n_kv_heads
        self.times, self.head_dim = n_heads // n_kv_heads, d_model // n_heads
        self.q_proj = nn.Linear(d_model, n_heads * self.head_dim, bias=False)
        self.k_proj = nn.Linear(d_model, n_kv_heads * self.head_dim, bias=False)
        self.v_proj = nn.Linear(d_model, n_kv_heads * self.head_dim, bias=False)
        self.o_proj = nn.Linear(n_heads * self.head_dim, d_model, bias=False)
        self.dropout = nn.Dropout(dropout)
        mask = torch.ones(context_length, context_length, dtype=torch.bool).triu(diagonal=1)
        self.register_buffer("future", mask, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, d_model) -> (B, T, d_model)."""
        queries = self.q_proj(x).unflatten(-1, (self.n_heads, self.head_dim)).transpose(1, 2)
        keys, values = self.split(self.k_proj(x)), self.split(self.v_proj(x))
        scores = self.score(queries, self.keys(keys)) * self.factor()
        scores = scores.masked_fill(self.future[: x.shape[1], : x.shape[1]], -torch.inf)
        context = self.dropout(scores.softmax(dim=-1)) @ self.values(values)
        output: Tensor = self.o_proj(context.transpose(1, 2).flatten(2))
        return output

    def split(self, x: Tensor) -> Tensor:
        """(B, T, G * D) -> (B, G, T, D)."""
        return x.unflatten(-1, (self.n_kv_heads, self.head_dim)).transpose(1, 2)

    def repeat(self, heads: Tensor) -> Tensor:
        """(B, G, T, D) -> (B, H, T, D)."""
        return heads.repeat_interleave(self.times, dim=1)

    def keys(self, keys: Tensor) -> Tensor:
        """The keys of every head, (B, H, T, D)."""
        return self.repeat(keys)

    def values(self, values: Tensor) -> Tensor:
        """The values of every head, (B, H, T, D)."""
        return self.repeat(values)

    def score(self, queries: Tensor, keys: Tensor) -> Tensor:
        """(B, H, T, D) twice -> (B, H, T, T)."""
        return queries @ keys.mT

    def factor(self) -> float:
        """What scores are multiplied by."""
        return float(self.head_dim**-0.5)


right = partial(sound, kind="grouped")


@right("grouped-by-repeating")
class GroupedByRepeating(PlainGrouped):
    """As the steps are."""


@right("grouped-in-five-axes")
class GroupedQueryAttention(nn.Module):
    """Queries are folded into their groups and nothing is repeated; arguments as in a textbook."""

    def __init__(
        self,
        d_in: int,
        d_out: int,
        context_length: int,
        dropout: float,
        num_heads: int,
        num_kv_groups: int,
        qkv_bias: bool = False,
    ) -> None:
        super().__init__()
        self.groups, self.each = num_kv_groups, num_heads // num_kv_groups
        self.head_dim, self.context_length = d_out // num_heads, context_length
        self.W_query = nn.Linear(d_in, d_out, bias=qkv_bias)
        self.W_key = nn.Linear(d_in, num_kv_groups * self.head_dim, bias=qkv_bias)
        self.W_value = nn.Linear(d_in, num_kv_groups * self.head_dim, bias=qkv_bias)
        self.out_proj = nn.Linear(d_out, d_out)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, d_in) -> (B, T, d_out)."""
        tokens = x.shape[1]
        q = self.W_query(x).view(*x.shape[:2], self.groups, self.each, self.head_dim)
        k, v = (w(x).view(*x.shape[:2], self.groups, -1) for w in (self.W_key, self.W_value))
        scores = torch.einsum("btged,bsgd->bgets", q, k) / self.head_dim**0.5
        past = torch.ones(tokens, tokens, dtype=torch.bool, device=x.device).tril()
        weights = self.dropout(scores.where(past, -torch.inf).softmax(-1))
        output: Tensor = self.out_proj(torch.einsum("bgets,bsgd->btged", weights, v).flatten(2))
        return output


@right("grouped-by-the-kernel")
class LlamaAttention(nn.Module):
    """The kernel shares keys and values; dim, n_heads, n_kv_heads, max_seq_len as in Llama."""

    def __init__(self, dim: int, n_heads: int, n_kv_heads: int, max_seq_len: int) -> None:
        super().__init__()
        self.n_heads, self.n_kv_heads, self.head_dim = n_heads, n_kv_heads, dim // n_heads
        self.max_seq_len = max_seq_len
        self.wq = nn.Linear(dim, n_heads * self.head_dim, bias=False)
        self.wk = nn.Linear(dim, n_kv_heads * self.head_dim, bias=False)
        self.wv = nn.Linear(dim, n_kv_heads * self.head_dim, bias=False)
        self.wo = nn.Linear(n_heads * self.head_dim, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, dim) -> (B, T, dim)."""
        batch, tokens, _ = x.shape
        q = self.wq(x).view(batch, tokens, self.n_heads, self.head_dim).transpose(1, 2)
        k = self.wk(x).view(batch, tokens, self.n_kv_heads, self.head_dim).transpose(1, 2)
        v = self.wv(x).view(batch, tokens, self.n_kv_heads, self.head_dim).transpose(1, 2)
        out = functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        output: Tensor = self.wo(out.transpose(1, 2).reshape(batch, tokens, -1))
        return output


@right("grouped-in-one-group")
class MultiQueryAttention(nn.Module):
    """One head of keys and values for all, which broadcasting shares; one matrix for all three."""

    def __init__(self, d_model: int, n_heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.n_heads, self.head_dim = n_heads, d_model // n_heads
        self.qkv = nn.Linear(d_model, d_model + 2 * self.head_dim)
        self.out_proj = nn.Linear(d_model, d_model)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, d_model) -> (B, T, d_model)."""
        q, k, v = self.qkv(x).split([x.shape[-1], self.head_dim, self.head_dim], dim=-1)
        q = q.unflatten(-1, (self.n_heads, -1)).transpose(1, 2)
        scores = q @ k.unsqueeze(1).mT * self.head_dim**-0.5
        scores = scores + torch.full_like(scores, -torch.inf).triu(diagonal=1)
        context = self.dropout(scores.softmax(-1)) @ v.unsqueeze(1)
        output: Tensor = self.out_proj(context.transpose(1, 2).flatten(2))
        return output


wrong = partial(held, kind="grouped", area="groups", how="plain")


@wrong(
    "grouped-tiled",
    named="groups tiled",
    symptom="head h reads group h % G: weights of a published model give nonsense",
    source="onnx/onnx#7274, apple/axlearn#842, ekzhang/jax-js#180",
)
class GroupsTiled(PlainGrouped):
    def repeat(self, heads: Tensor) -> Tensor:
        return heads.repeat(1, self.times, 1, 1)


@wrong(
    "grouped-values-tiled",
    named="groups of the values tiled",
    symptom="keys are shared side by side and values in turn",
)
class ValuesTiled(PlainGrouped):
    def values(self, values: Tensor) -> Tensor:
        return values.repeat(1, self.times, 1, 1)


@wrong(
    "grouped-repeated-along-time",
    named="groups repeated along time",
    symptom="the axis of time is stretched and cut into heads: the future leaks",
    source="datawhalechina/tiny-universe#21, PrimeIntellect-ai/prime-rl#2681",
)
class RepeatedAlongTime(PlainGrouped):
    def repeat(self, heads: Tensor) -> Tensor:
        batch, _, tokens, width = heads.shape
        return heads.repeat_interleave(self.times, dim=2).reshape(batch, -1, tokens, width)


@wrong(
    "grouped-first-group-for-all",
    named="first group for all heads",
    symptom="most heads of keys and values are never read and never learn",
    source="PSAL-POSTECH/ONNXim#34, HazyResearch/HipKittens#22",
)
class FirstGroupForAll(PlainGrouped):
    def repeat(self, heads: Tensor) -> Tensor:
        return heads[:, :1].expand(-1, self.n_heads, -1, -1)


@wrong(
    "grouped-queries-summed",
    named="queries of a group summed",
    symptom="the heads of a group have one pattern of weights",
    source="fkodom/grouped-query-attention-pytorch#5",
)
class QueriesSummed(PlainGrouped):
    def score(self, queries: Tensor, keys: Tensor) -> Tensor:
        summed = queries.unflatten(1, (self.n_kv_heads, self.times)).sum(dim=2)
        return super().score(summed.repeat_interleave(self.times, dim=1), keys)


@wrong(
    "grouped-columns-across-heads",
    named="columns of keys and values in another order",
    symptom="(D, G) is read where (G, D) was written, as a fused matrix per head would have it",
    source="EleutherAI/gpt-neox#1315",
    fits="columns of (D, G)",
)
class ColumnsAcrossHeads(PlainGrouped):
    def split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.head_dim, self.n_kv_heads)).permute(0, 3, 1, 2)


@wrong(
    "grouped-head-over-the-number-of-groups",
    named="head divided by the number of groups",
    symptom="h // G for h // (H / G), kept in range: right where G is the root of H",
)
class HeadOverTheNumberOfGroups(PlainGrouped):
    def repeat(self, heads: Tensor) -> Tensor:
        reader = torch.arange(self.n_heads, device=heads.device) // self.n_kv_heads
        return heads[:, reader.clamp(max=self.n_kv_heads - 1)]


@wrong(
    "grouped-scale-by-the-width-of-a-group",
    named="scale by the width of a group",
    symptom="the root of d_model / G instead of head_dim",
    area="score",
)
class ScaleByTheWidthOfAGroup(PlainGrouped):
    def factor(self) -> float:
        return float((self.head_dim * self.times) ** -0.5)


@wrong(
    "grouped-last-head-of-a-group-learns",
    named="gradient of one head of a group",
    how="gradient",
    symptom="the output is right; keys learn from the last head of each group alone",
)
class LastHeadOfAGroupLearns(PlainGrouped):
    def keys(self, keys: Tensor) -> Tensor:
        copies = [keys.detach()] * (self.times - 1) + [keys]
        return torch.stack(copies, dim=2).flatten(1, 2)


@wrong(
    "grouped-gradient-averaged",
    named="gradient of a group averaged",
    how="gradient",
    symptom="the output is right; values learn too slowly by the size of a group",
)
class GradientAveraged(PlainGrouped):
    def values(self, values: Tensor) -> Tensor:
        share = 1.0 / self.times
        return super().values(values.detach() * (1.0 - share) + values * share)
