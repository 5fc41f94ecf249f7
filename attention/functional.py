"""The mathematics of attention as pure functions: no parameters, nothing changed in place.

    scores  = queries keys^T                      how well each query matches each key
    weights = softmax(scores / sqrt(head_dim))    each row sums to one, the future hidden
    context = weights values                      each token's mixture of the values it sees

Legend for shapes: B batch, T tokens, H heads, D head_dim, `...` any leading axes.
"""

import torch
from torch import Tensor


def scores_by_loop(queries: Tensor, keys: Tensor) -> Tensor:
    """Dot each query with each key, one by one, (T, D) to (T, T). Source: 003 §3.3.2."""
    scores = queries.new_empty(len(queries), len(keys))
    for i, query in enumerate(queries):
        for j, key in enumerate(keys):
            scores[i, j] = torch.dot(query, key)
    return scores


def dot_product_scores(queries: Tensor, keys: Tensor) -> Tensor:
    """Dot each query with each key at once, (..., T, D) to (..., T, T). Source: 003 §3.3.2."""
    return queries @ keys.transpose(-2, -1)


def normalise_by_sum(scores: Tensor) -> Tensor:
    """Divide each row, the last axis, by its sum. Source: 003 §3.3.1, and §3.5 once masked."""
    return scores / scores.sum(dim=-1, keepdim=True)


def softmax_naive(scores: Tensor) -> Tensor:
    """Softmax over the last axis by its formula; overflows early. Source: 003 §3.3.1."""
    return normalise_by_sum(scores.exp())


def causal_mask(num_tokens: int) -> Tensor:
    """Boolean (T, T), True where a key lies in the query's future: hide. Source: 003 §3.5."""
    return torch.ones(num_tokens, num_tokens, dtype=torch.bool).triu(diagonal=1)


def zero_future(weights: Tensor, hidden: Tensor) -> Tensor:
    """Set hidden weights to zero; `normalise_by_sum` makes rows whole. Source: 003 §3.5."""
    return weights.masked_fill(hidden, 0.0)


def hide_future(scores: Tensor, hidden: Tensor) -> Tensor:
    """Set hidden scores to minus infinity, which softmax turns to zero. Source: 003 §3.5."""
    return scores.masked_fill(hidden, -torch.inf)


def attention_weights(
    scores: Tensor, *, head_dim: int | None = None, hidden: Tensor | None = None
) -> Tensor:
    """Softmax of the scores over the keys, the last axis; the shape (..., T, T) stays.

    `hidden` (True = hide) takes keys away, `head_dim` divides the scores by its square root.
    Source: 003 §3.3.2 (neither), §3.4 (scaled), §3.5 (both).
    """
    if hidden is not None:
        scores = hide_future(scores, hidden)
    if head_dim is not None:
        scores = scores / head_dim**0.5
    return torch.softmax(scores, dim=-1)


def context_vectors(weights: Tensor, values: Tensor) -> Tensor:
    """Mix the values, (..., T, T) and (..., T, D) to (..., T, D). Source: 003 §3.3.2."""
    return weights @ values


def split_heads(projected: Tensor, num_heads: int) -> Tensor:
    """Cut the last axis into heads, (B, T, H * D) to (B, H, T, D).

    Head h owns columns h * D to (h + 1) * D. Source: 001 steps 5 and 6; 003 §3.6.2.
    """
    *leading, d_out = projected.shape
    unrolled = projected.view(*leading, num_heads, d_out // num_heads)  # (B, T, H, D)
    return unrolled.transpose(-3, -2)  # (B, H, T, D)


def merge_heads(context: Tensor) -> Tensor:
    """Lay the heads side by side again, (B, H, T, D) to (B, T, H * D). Source: 001 step 10."""
    return context.transpose(-3, -2).flatten(start_dim=-2)  # (B, T, H, D), then (B, T, H * D)
