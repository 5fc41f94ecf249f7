"""Right modules with shared heads of keys and values, in further manners: one matrix, copies by a view.

Legend: B batch, T tokens, H heads, G heads of keys and values, D head_dim.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from properties.zoo.wide import sound

right = partial(sound, kind="grouped")


def repeat_kv(heads: Tensor, times: int) -> Tensor:
    """(B, T, G, D) -> (B, T, H, D), by a view that is stretched before it is copied."""
    batch, tokens, groups, width = heads.shape
    stretched = heads.unsqueeze(3).expand(batch, tokens, groups, times, width)
    return stretched.reshape(batch, tokens, groups * times, width)


@right("grouped-by-stretching-a-view")
class RepeatKvAttention(nn.Module):
    """Heads lie behind tokens until they are multiplied, and are stretched there, as in Llama."""

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
        tokens, times = x.shape[1], self.n_heads // self.n_kv_heads
        q = self.wq(x).unflatten(-1, (self.n_heads, self.head_dim))
        k, v = (w(x).unflatten(-1, (self.n_kv_heads, self.head_dim)) for w in (self.wk, self.wv))
        k, v = repeat_kv(k, times), repeat_kv(v, times)
        scores = torch.einsum("bthd,bshd->bhts", q, k) / self.head_dim**0.5
        if tokens > 1:
            future = torch.full((tokens, tokens), float("-inf"), device=x.device).triu(1)
            scores = scores + future.type_as(scores)
        weights = (
            scores.float().softmax(-1).type_as(q) if q.dtype.itemsize < 4 else scores.softmax(-1)
        )
        output: Tensor = self.wo(torch.einsum("bhts,bshd->bthd", weights, v).flatten(2))
        return output


@right("grouped-with-a-mask-made-by-each-call")
class GroupedQueryAttention(nn.Module):
    """d_in, d_out, num_heads, num_kv_groups, as in a book; no context_length, no dropout."""

    def __init__(self, d_in: int, d_out: int, num_heads: int, num_kv_groups: int) -> None:
        super().__init__()
        if d_out % num_heads:
            raise ValueError(f"d_out {d_out} is not divisible by num_heads {num_heads}")
        if num_heads % num_kv_groups:
            raise ValueError(f"{num_heads} heads are not divisible by {num_kv_groups} groups")
        self.num_heads, self.num_kv_groups = num_heads, num_kv_groups
        self.head_dim, self.group_size = d_out // num_heads, num_heads // num_kv_groups
        self.W_query = nn.Linear(d_in, d_out, bias=False)
        self.W_key = nn.Linear(d_in, num_kv_groups * self.head_dim, bias=False)
        self.W_value = nn.Linear(d_in, num_kv_groups * self.head_dim, bias=False)
        self.out_proj = nn.Linear(d_out, d_out, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, d_in) -> (B, T, d_out)."""
        batch, tokens, _ = x.shape
        queries = self.W_query(x).view(batch, tokens, self.num_heads, self.head_dim).transpose(1, 2)
        keys, values = (
            layer(x)
            .view(batch, tokens, self.num_kv_groups, self.head_dim)
            .transpose(1, 2)
            .repeat_interleave(self.group_size, dim=1)
            for layer in (self.W_key, self.W_value)
        )
        future = torch.ones(tokens, tokens, dtype=torch.bool, device=x.device).triu(diagonal=1)
        scores = (queries @ keys.transpose(2, 3)).masked_fill(future, -torch.inf)
        context = torch.softmax(scores / self.head_dim**0.5, dim=-1) @ values
        output: Tensor = self.out_proj(context.transpose(1, 2).flatten(2))
        return output


@right("grouped-in-one-matrix-by-roles")
class FusedGroupedAttention(nn.Module):
    """One matrix of (H + 2 G) D columns: all queries, then all keys, then all values."""

    def __init__(self, d_model: int, n_heads: int, n_kv_heads: int) -> None:
        super().__init__()
        self.heads, self.head_dim = (n_heads, n_kv_heads, n_kv_heads), d_model // n_heads
        self.Wqkv = nn.Linear(d_model, sum(self.heads) * self.head_dim)
        self.out_proj = nn.Linear(d_model, d_model)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, d_model) -> (B, T, d_model)."""
        together = self.Wqkv(x).unflatten(-1, (-1, self.head_dim)).transpose(1, 2)
        q, k, v = together.split(self.heads, dim=1)
        context = functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        output: Tensor = self.out_proj(context.transpose(1, 2).flatten(2))
        return output


@right("grouped-in-one-matrix-by-groups")
class FalconAttention(nn.Module):
    """One matrix whose columns lie group by group, (G, H / G + 2, D): its queries, its key, its value."""

    def __init__(self, hidden_size: int, num_attention_heads: int, num_kv_heads: int) -> None:
        super().__init__()
        self.head_dim, self.num_kv_heads = hidden_size // num_attention_heads, num_kv_heads
        self.times = num_attention_heads // num_kv_heads
        columns = (num_attention_heads + 2 * num_kv_heads) * self.head_dim
        self.query_key_value = nn.Linear(hidden_size, columns, bias=False)
        self.dense = nn.Linear(hidden_size, hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, hidden_size) -> (B, T, hidden_size)."""
        by_group = self.query_key_value(x).unflatten(
            -1, (self.num_kv_heads, self.times + 2, self.head_dim)
        )
        q = by_group[..., :-2, :]
        k, v = by_group[..., -2, :], by_group[..., -1, :]
        scores = torch.einsum("btgnd,bsgd->bgnts", q, k) * self.head_dim**-0.5
        past = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device).tril()
        weights = scores.masked_fill(~past, torch.finfo(scores.dtype).min).softmax(-1)
        output: Tensor = self.dense(torch.einsum("bgnts,bsgd->btgnd", weights, v).flatten(2))
        return output


@right("grouped-in-one-group-of-two-matrices")
class MultiQueryByTwoMatrices(nn.Module):
    """One head of keys and values for all, which come out of one matrix of 2 D columns."""

    def __init__(self, dim: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads, self.scale = heads, (dim // heads) ** -0.5
        self.to_q = nn.Linear(dim, dim, bias=False)
        self.to_kv = nn.Linear(dim, 2 * (dim // heads), bias=False)
        self.to_out = nn.Linear(dim, dim, bias=False)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, dim) -> (B, T, dim)."""
        q = self.to_q(x).unflatten(-1, (self.heads, -1)) * self.scale
        k, v = self.to_kv(x).chunk(2, dim=-1)
        scores = torch.einsum("bthd,bsd->bhts", q, k)
        hidden = torch.ones_like(scores, dtype=torch.bool).triu(1)
        weights = self.drop(scores.masked_fill(hidden, -torch.inf).softmax(-1))
        output: Tensor = self.to_out(torch.einsum("bhts,bsd->bthd", weights, v).flatten(2))
        return output
