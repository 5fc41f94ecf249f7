"""Functions of fewer than four axes that are told a mask, right and wrong.

Legend: B items, T queries, S keys, H heads, D head_dim.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def masked_attention(
    queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None
) -> Tensor:
    """(B, T, D), (B, S, D) twice -> (B, T, D). What is masked is told by the mask, not by the name."""
    scores = torch.bmm(queries, keys.mT) / queries.shape[-1] ** 0.5
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    return torch.bmm(scores.softmax(dim=-1), values)


def attention_without_its_mask(
    queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None
) -> Tensor:
    """Wrong: (B, T, D), and the mask is not used."""
    scores = torch.bmm(queries, keys.mT) / queries.shape[-1] ** 0.5
    return torch.bmm(scores.softmax(dim=-1), values)


def of_one_head(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """(T, D), (S, D) twice -> (T, D), and weights (T, S)."""
    scores = q @ k.T / q.size(1) ** 0.5
    if mask is not None:
        scores = scores.masked_fill(mask == 0, -1e9)
    weights = scores.softmax(dim=-1)
    return weights @ v, weights


def of_one_head_with_a_small_fill(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Wrong: what is hidden scores zero."""
    scores = q @ k.T / q.size(1) ** 0.5
    if mask is not None:
        scores = scores.masked_fill(mask == 0, 0.0)
    weights = scores.softmax(dim=-1)
    return weights @ v, weights


def of_one_item(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_bias: Tensor | None = None,
    is_causal: bool = False,
) -> Tensor:
    """(T, H, D), (S, H, D) twice -> (T, H, D); a bias (H, T, S)."""
    _, heads, width = query.shape
    if key.shape[1] != heads:
        raise ValueError(f"{key.shape[1]} heads of keys: expected {heads}")
    scores = torch.einsum("thd,shd->hts", query, key) * width**-0.5
    if attn_bias is not None:
        scores = scores + attn_bias
    if is_causal:
        past = torch.ones(scores.shape[1:], dtype=torch.bool).tril()
        scores = scores.masked_fill(~past, -torch.inf)
    return torch.einsum("hts,shd->thd", scores.softmax(dim=-1), value)


def of_one_item_with_half_its_bias(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_bias: Tensor | None = None,
    is_causal: bool = False,
) -> Tensor:
    """Wrong: the bias is scaled as the products are."""
    bias = None if attn_bias is None else attn_bias * query.shape[-1] ** -0.5
    return of_one_item(query, key, value, bias, is_causal)


def in_numpy(
    Q: NDArray, K: NDArray, V: NDArray, mask: NDArray | None = None
) -> tuple[NDArray, NDArray]:
    """(B, T, D), (B, S, D) twice; a mask of which 1 shows."""
    scores = Q @ K.transpose(0, 2, 1) / np.sqrt(Q.shape[-1])
    if mask is not None:
        scores = np.where(mask == 1, scores, -1e9)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    return weights @ V, weights


def in_numpy_after_the_softmax(
    Q: NDArray, K: NDArray, V: NDArray, mask: NDArray | None = None
) -> tuple[NDArray, NDArray]:
    """Wrong: weights are zeroed, and no longer sum to one."""
    weights = np.exp(Q @ K.transpose(0, 2, 1) / np.sqrt(Q.shape[-1]))
    weights /= weights.sum(axis=-1, keepdims=True)
    if mask is not None:
        weights = np.where(mask == 1, weights, 0.0)
    return weights @ V, weights
