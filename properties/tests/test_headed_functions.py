"""A function of rows of all heads is told how many there are, and asked as one of heads."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from properties.recognition.targets import find_one
from properties.runs.runner import run
from properties.zoo.rights.common import SplitHeads, attend

ASKED = ["shape/output-shape", "oracle/output-within-bound", "heads/split-equals-per-head-matmul"]


def split(rows: Tensor, heads: int) -> Tensor:
    """(B, T, H * D) -> (B, H, T, D)."""
    return rows.unflatten(-1, (heads, -1)).transpose(1, 2)


def rows_of_heads(
    q: Tensor, k: Tensor, v: Tensor, num_heads: int = 2, causal: bool = False
) -> Tensor:
    """(B, T, H * D) -> the same."""
    parts = (split(part, num_heads) for part in (q, k, v))
    return scaled_dot_product_attention(*parts, is_causal=causal).transpose(1, 2).flatten(2)


def rows_without_a_transpose(
    q: Tensor, k: Tensor, v: Tensor, num_heads: int = 2, causal: bool = False
) -> Tensor:
    """Heads and tokens lie in the wrong order."""
    parts = (split(part, num_heads) for part in (q, k, v))
    return scaled_dot_product_attention(*parts, is_causal=causal).reshape(q.shape)


def rows_with_a_mask(query: Tensor, key: Tensor, value: Tensor, mask: Tensor, heads: int) -> Tensor:
    """Both are required."""
    q, k, v = (split(part, heads) for part in (query, key, value))
    scores = (q @ k.mT / math.sqrt(q.shape[-1])).masked_fill(mask, -math.inf)
    return (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)


def heads_counted(q: Tensor, k: Tensor, v: Tensor, num_heads: int) -> Tensor:
    """(B, H, T, D), and the number is only held against that."""
    assert q.shape[1] == num_heads
    return scaled_dot_product_attention(q, k, v)


def arrays_of_rows(q: Any, k: Any, v: Any, n_heads: int) -> Any:
    """The same of arrays."""
    q, k, v = (np.reshape(a, (*a.shape[:2], n_heads, -1)) for a in (q, k, v))
    scores = np.einsum("bthd,bshd->bhts", q, k) / math.sqrt(q.shape[-1])
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights = weights / weights.sum(-1, keepdims=True)
    return np.einsum("bhts,bshd->bthd", weights, v).reshape(*q.shape[:2], -1)


def arrays_with_a_mask(q: Any, k: Any, v: Any, mask: Any) -> Any:
    """A mask of arrays is required."""
    scores = np.where(mask, q @ np.swapaxes(k, -1, -2) / math.sqrt(q.shape[-1]), -1e30)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True) @ v


@pytest.mark.parametrize(
    "function", [rows_of_heads, rows_with_a_mask, heads_counted, arrays_of_rows, arrays_with_a_mask]
)
def test_a_function_that_is_told_its_heads_is_right(function: Callable[..., Any]) -> None:
    assert run(find_one(function), profile="quick", only=ASKED).failed == []


def test_heads_that_are_not_merged_again_are_told() -> None:
    told = run(find_one(rows_without_a_transpose), profile="quick", only=ASKED)
    assert set(ASKED[1:]) & set(told.failed)


class NamedForQueries(SplitHeads):
    """The width of tokens is called that of queries, beside the width of a head."""

    def __init__(self, query_dim: int, heads: int = 2, dim_head: int = 4) -> None:
        super().__init__(query_dim, heads * dim_head, 64, 0.0, heads)
        self.out_proj = nn.Linear(heads * dim_head, query_dim)

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        return attend(queries, keys, values, self.dropout)


class ScaledByAll(NamedForQueries):
    """By the width of all heads."""

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        return super().attend(queries / self.num_heads**0.5, keys, values)


def test_a_query_dim_beside_the_width_of_a_head_is_that_of_tokens() -> None:
    assert run(find_one(NamedForQueries), profile="quick", only=ASKED).failed == []
    assert run(find_one(ScaledByAll), profile="quick", only=ASKED).failed


def test_a_mask_of_arrays_that_is_required_is_asked_about() -> None:
    subject = find_one(arrays_with_a_mask)
    assert subject.takes["mask"] == "mask"
    assert run(subject, profile="quick", only=["mask/shows-what-it-shows"]).failed == []
