"""Functions of one axis or two less that hide keys too late, or by next to nothing.

Legend: B items, T queries, S keys, D head_dim.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


def of_one_head(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """(T, D), (S, D) twice -> (T, D), and weights (T, S)."""
    return attended(q, k, v, mask, -1e9)


def of_one_head_with_a_small_fill(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Wrong: what is hidden scores zero."""
    return attended(q, k, v, mask, 0.0)


def attended(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, fill: float
) -> tuple[Tensor, Tensor]:
    """By a mask of which 0 hides."""
    scores = q @ k.T / q.size(1) ** 0.5
    if mask is not None:
        scores = scores.masked_fill(mask == 0, fill)
    weights = scores.softmax(dim=-1)
    return weights @ v, weights


def in_numpy_after_the_softmax(
    Q: NDArray, K: NDArray, V: NDArray, mask: NDArray | None = None
) -> tuple[NDArray, NDArray]:
    """Wrong: (B, T, D); weights are zeroed, and no longer sum to one."""
    weights = np.exp(Q @ K.transpose(0, 2, 1) / np.sqrt(Q.shape[-1]))
    weights /= weights.sum(axis=-1, keepdims=True)
    if mask is not None:
        weights = np.where(mask == 1, weights, 0.0)
    return weights @ V, weights
