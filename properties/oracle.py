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
    merged = merge(context)
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
    batch, tokens, width = x.shape
    return x.reshape(batch, tokens, heads, width // heads).transpose(0, 2, 1, 3)


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


@dataclass(frozen=True, eq=False)
class Gradients:
    """Of sum(upstream * output), every step of the chain rule that the error budget needs."""

    context: Array  # (B, H, T, D)
    weights: Array  # (B, H, T, T)
    centred: Array  # (B, H, T, T), the weights' gradient less its mean under the weights
    scores: Array  # (B, H, T, T), before the scale
    queries: Array  # (B, H, T, D)
    keys: Array  # (B, H, T, D)
    values: Array  # (B, H, T, D)
    x: Array  # (B, T, d_in)
    parameters: Weights | None


def gradients(
    x: Array, weights: Weights | None, trace: Trace, upstream: Array, *, scaled: bool = True
) -> Gradients:
    """The derivative of sum(upstream * output) by the chain rule; upstream is (B, T, W).

    With w = softmax(z) a change dz moves w_j by w_j (dz_j - sum_k w_k dz_k), so the gradient of z
    is w * (g - sum(w * g)) with g that of w.
    """
    heads, head_dim = trace.queries.shape[1], trace.queries.shape[-1]
    out = None if weights is None else weights.out
    context = split(upstream if out is None else upstream @ out.T, heads)
    to_weights = context @ trace.values.swapaxes(-1, -2)
    centred = to_weights - (trace.weights * to_weights).sum(axis=-1, keepdims=True)
    to_scores = trace.weights * centred * (1.0 / np.sqrt(head_dim) if scaled else 1.0)
    to_queries = to_scores @ trace.keys
    to_keys = to_scores.swapaxes(-1, -2) @ trace.queries
    to_values = trace.weights.swapaxes(-1, -2) @ context
    parts = [merge(part) for part in (to_queries, to_keys, to_values)]
    to_x, parameters = through_projections(x, weights, parts, trace.context, upstream)
    return Gradients(
        context,
        to_weights,
        centred,
        to_scores,
        to_queries,
        to_keys,
        to_values,
        to_x,
        parameters,
    )


def merge(heads: Array) -> Array:
    """(B, H, T, D) -> (B, T, W): the inverse of `split`."""
    batch, number, tokens, head_dim = heads.shape
    return heads.transpose(0, 2, 1, 3).reshape(batch, tokens, number * head_dim)


def through_projections(
    x: Array, weights: Weights | None, parts: list[Array], context: Array, upstream: Array
) -> tuple[Array, Weights | None]:
    """From the gradients of queries, keys and values (B, T, W) to those of input and parameters."""
    if weights is None:
        return sum(parts[1:], parts[0]), None
    matrices = (weights.query, weights.key, weights.value)
    biased = weights.query_bias is not None
    to_x = sum(part @ matrix.T for part, matrix in zip(parts, matrices, strict=True))
    query, key, value = (over_tokens(x, part) for part in parts)
    biases = (part.sum(axis=(0, 1)) if biased else None for part in parts)
    query_bias, key_bias, value_bias = biases
    return np.asarray(to_x), Weights(
        query=query,
        key=key,
        value=value,
        query_bias=query_bias,
        key_bias=key_bias,
        value_bias=value_bias,
        out=None if weights.out is None else over_tokens(context, upstream),
        out_bias=None if weights.out_bias is None else upstream.sum(axis=(0, 1)),
    )


def over_tokens(left: Array, right: Array) -> Array:
    """(B, T, M), (B, T, N) -> (M, N): the sum of outer products over all tokens."""
    return left.reshape(-1, left.shape[-1]).T @ right.reshape(-1, right.shape[-1])
