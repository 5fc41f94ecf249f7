"""Faults of functions of queries, keys and values, which are the caller's."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from properties.zoo.faults import fault

UNTOUCHED = "state/queries-keys-and-values-untouched"


def attention(query: Tensor, key: Tensor, value: Tensor, is_causal: bool, p: float) -> Tensor:
    """Attention of queries that are scaled already, (B, H, T, D) three times."""
    scores = query @ key.mT
    if is_causal:
        future = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
        scores = scores.masked_fill(future, -torch.inf)
    return functional.dropout(scores.softmax(dim=-1), p) @ value


@fault(
    "query-divided-in-place",
    UNTOUCHED,
    symptom="called twice with the same queries, the second result is blunt",
)
def query_divided_in_place(
    query: Tensor, key: Tensor, value: Tensor, is_causal: bool = True, dropout_p: float = 0.0
) -> Tensor:
    """The scale, with one allocation less."""
    query /= query.shape[-1] ** 0.5
    return attention(query, key, value, is_causal, dropout_p)


@fault(
    "query-divided-in-place-where-it-lies-in-order",
    UNTOUCHED,
    symptom="contiguous() copies a view, so it was safe to write to; what is in order it returns",
)
def query_divided_where_it_lies_in_order(
    query: Tensor, key: Tensor, value: Tensor, is_causal: bool = True, dropout_p: float = 0.0
) -> Tensor:
    """In place, on what is taken for a copy."""
    scaled = query.contiguous().div_(query.shape[-1] ** 0.5)
    return attention(scaled, key, value, is_causal, dropout_p)


@fault(
    "values-scaled-in-place-in-training",
    UNTOUCHED,
    symptom="right in eval; in training the values of a cache grow from call to call",
)
def values_scaled_in_place_in_training(
    query: Tensor, key: Tensor, value: Tensor, is_causal: bool = True, dropout_p: float = 0.0
) -> Tensor:
    """The factor of dropout, on the values."""
    shown, scaled = torch.eye(key.shape[-2]).to(key), query / query.shape[-1] ** 0.5
    weights = attention(scaled, key, shown, is_causal, 0.0)
    if not 0.0 < dropout_p < 1.0:
        return functional.dropout(weights, dropout_p) @ value
    return (weights * (torch.rand_like(weights) >= dropout_p)) @ value.mul_(1.0 / (1.0 - dropout_p))
