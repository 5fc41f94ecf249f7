"""The truth: attention in float64 NumPy, written from the formula, one query at a time.

    context_i = sum over visible j of softmax_j(q_i . k_j / sqrt(D)) v_j

Nothing here comes from torch or from the reference. Hidden keys never enter the arithmetic: a query
sees the slice of keys up to itself, so no mask constant can be wrong.

Legend: B batch, T tokens, H heads, D head_dim, W = H * D.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from properties.dtypes import Array
from properties.subject import Weights


@dataclass(frozen=True, eq=False)
class Trace:
    """Every intermediate result. Where a key is hidden, its weight is zero."""

    queries: Array  # (B, H, T, D)
    keys: Array  # (B, H, T, D)
    values: Array  # (B, H, T, D)
    scores: Array  # (B, H, T, T), before the scale and before anything is hidden
    weights: Array  # (B, H, T, T)
    context: Array  # (B, T, W), the heads side by side
    output: Array  # (B, T, W)


def attention(
    x: Array, weights: Weights | None, *, heads: int = 1, causal: bool = True, scaled: bool = True
) -> Trace:
    """Attention over x (B, T, d_in) with the given parameters; without any, q = k = v = x."""
    queries, keys, values = (
        split(part, heads)  # (B, T, W) -> (B, H, T, D)
        for part in project(x, weights)
    )
    tokens, head_dim = queries.shape[-2:]
    scores = np.einsum("bhqd,bhkd->bhqk", queries, keys)
    scale = 1.0 / np.sqrt(head_dim) if scaled else 1.0
    attention_weights = np.zeros_like(scores)
    context = np.zeros_like(values)
    for b, h, query in np.ndindex(*queries.shape[:3]):
        visible = slice(0, query + 1 if causal else tokens)
        row = softmax(scores[b, h, query, visible] * scale)
        attention_weights[b, h, query, visible] = row
        context[b, h, query] = row @ values[b, h, visible]
    merged = context.transpose(0, 2, 1, 3).reshape(x.shape[0], tokens, heads * head_dim)
    return Trace(
        queries, keys, values, scores, attention_weights, merged, out_projection(merged, weights)
    )


def project(x: Array, weights: Weights | None) -> tuple[Array, Array, Array]:
    """Queries, keys and values, each (B, T, W)."""
    if weights is None:
        return x, x, x
    pairs = (
        (weights.query, weights.query_bias),
        (weights.key, weights.key_bias),
        (weights.value, weights.value_bias),
    )
    query, key, value = (affine(x, matrix, bias) for matrix, bias in pairs)
    return query, key, value


def affine(x: Array, matrix: Array, bias: Array | None) -> Array:
    """X @ matrix + bias."""
    product = x @ matrix
    return product if bias is None else product + bias


def split(x: Array, heads: int) -> Array:
    """(B, T, W) -> (B, H, T, D): head h is made of the columns h*D to (h+1)*D."""
    return np.stack(np.split(x, heads, axis=-1), axis=1)


def softmax(row: Array) -> Array:
    """exp(row) / sum(exp(row)) of one row, the maximum subtracted first."""
    exponentials = np.exp(row - row.max())
    normalised: Array = exponentials / exponentials.sum()
    return normalised


def out_projection(context: Array, weights: Weights | None) -> Array:
    """The output projection where there is one, else the context itself."""
    if weights is None or weights.out is None:
        return context
    return affine(context, weights.out, weights.out_bias)
