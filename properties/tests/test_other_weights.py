"""Functions that weigh otherwise than by a softmax of products are refused for what they are; a softmax
that went wrong is told, and so is what may be either where nothing says that it is meant.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from properties import check
from properties.basics.errors import QuestionError
from properties.recognition.targets import find_one


def scored(q: Tensor, k: Tensor) -> Tensor:
    """Scaled products."""
    return q @ k.mT / q.shape[-1] ** 0.5


def by_features(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """By elu + 1, and never a matrix of T x T."""
    q, k = F.elu(q) + 1, F.elu(k) + 1
    norm = q @ k.sum(-2, keepdim=True).mT
    return q @ (k.mT @ v) / norm


def by_prefix_sums(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """The same of the past alone."""
    q, k = F.elu(q) + 1, F.elu(k) + 1
    state = torch.einsum("bhtd,bhte->bhtde", k, v).cumsum(2)
    norm = (q * k.cumsum(2)).sum(-1, keepdim=True)
    return torch.einsum("bhtd,bhtde->bhte", q, state) / norm


def by_rectified_features(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """A row of zeros where nothing is above zero."""
    weights = query.relu() @ key.relu().mT
    return weights @ value / (weights.sum(-1, keepdim=True) + 1e-6)


def by_softmax_of_features(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Over the features of queries, and over the tokens of keys."""
    return q.softmax(-1) @ (k.softmax(-2).mT @ v)


def of_numpy(q: Any, k: Any, v: Any) -> Any:
    """Arrays of NumPy's."""
    q, k = (np.where(x > 0, x + 1, np.exp(np.minimum(x, 0))) for x in (q, k))
    weights = q @ np.swapaxes(k, -1, -2)
    return weights / weights.sum(-1, keepdims=True) @ v


def retention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """No sum divides; each step back weighs nine tenths."""
    places = torch.arange(q.shape[-2])
    back = places[:, None] - places
    return (q @ k.mT * torch.where(back >= 0, 0.9 ** back.clamp(min=0), 0.0)) @ v


def of_directions(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return (10.0 * F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).mT).softmax(-1) @ v


def by_temperature(q: Tensor, k: Tensor, v: Tensor, temperature: float = 0.1) -> Tensor:
    q, k = (part / part.norm(dim=-1, keepdim=True) for part in (q, k))
    return F.scaled_dot_product_attention(q, k, v, scale=1 / temperature)


class OfDirections(nn.Module):
    """With a mask, and weights beside the output."""

    def __init__(self, tau: float = 0.07) -> None:
        super().__init__()
        self.tau = tau

    def forward(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Any:
        scores = F.cosine_similarity(q.unsqueeze(-2), k.unsqueeze(-3), dim=-1) / self.tau
        if mask is not None:
            scores = scores.masked_fill(mask == 0, -1e9)
        return scores.softmax(-1) @ v, scores.softmax(-1)


def of_sums(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return torch.tanh(q.unsqueeze(-2) + k.unsqueeze(-3)).sum(-1).softmax(-1) @ v


class OfSums(nn.Module):
    """Bahdanau's, of equal shares."""

    def forward(self, query: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        weights = (query[..., :, None, :] + keys[..., None, :, :]).tanh().mean(-1).softmax(-1)
        return weights @ values, weights


def of_distances(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return (-torch.cdist(q, k).square() / 2).softmax(-1) @ v


def by_sparsemax(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    scores = scored(q, k)
    ordered = scores.sort(dim=-1, descending=True).values
    ranks, sums = torch.arange(1, k.shape[-2] + 1).to(q), ordered.cumsum(-1) - 1
    count = (ranks * ordered > sums).sum(-1, keepdim=True)
    return (scores - sums.gather(-1, count - 1) / count).clamp(min=0) @ v


def by_entmax(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Squares of what is above a threshold, which bisection finds."""
    half = scored(q, k) / 2
    high = half.amax(-1, keepdim=True)
    low = high - 1
    for _ in range(50):
        middle = (low + high) / 2
        much = (half - middle).clamp(min=0).square().sum(-1, keepdim=True) > 1
        low, high = torch.where(much, middle, low), torch.where(much, high, middle)
    return (half - low).clamp(min=0).square() @ v


def best_alone(q: Tensor, k: Tensor, v: Tensor, topk: int = 3) -> Tensor:
    """Its argument says so."""
    scores = scored(q, k)
    least = scores.topk(min(topk, k.shape[-2]), dim=-1).values[..., -1:]
    return scores.masked_fill(scores < least, -torch.inf).softmax(-1) @ v


def sigmoid_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return torch.sigmoid(scored(q, k) - np.log(k.shape[-2])) @ v


def rectified(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Squared ReLU of the scores, over the number of keys."""
    return scored(q, k).relu().square() @ v / k.shape[-2]


class SigmoidAttention(nn.Module):
    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return torch.sigmoid(scored(q, k)) @ v


def softmax1(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """A head may attend to nothing: the softmax is off by one."""
    scores = scored(q, k)
    most = scores.amax(-1, keepdim=True).clamp(min=0)
    powers = (scores - most).exp()
    return powers / (powers.sum(-1, keepdim=True) + (-most).exp()) @ v


def performer_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Many random features, so that its name alone tells."""
    drawn = torch.randn(64, q.shape[-1], generator=torch.Generator().manual_seed(0)).to(q)
    q, k = (part / q.shape[-1] ** 0.25 for part in (q, k))
    q, k = ((part @ drawn.T - part.square().sum(-1, keepdim=True) / 2).exp() for part in (q, k))
    weights = q @ k.mT
    return weights / weights.sum(-1, keepdim=True) @ v


LINEAR = "linear attention: weights are products of features"
UNDIVIDED = "linear attention, without a sum that divides"
COSINE = "cosine attention, or one with a norm"
NO_SUM = "attention without a sum over keys"


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (by_features, LINEAR),
        (by_prefix_sums, LINEAR),
        (by_rectified_features, LINEAR),
        (by_softmax_of_features, LINEAR),
        (of_numpy, LINEAR),
        (of_directions, COSINE),
        (by_temperature, COSINE),
        (OfDirections, COSINE),
        (of_sums, "additive attention"),
        (OfSums, "additive attention"),
        (of_distances, "attention by distances"),
        (by_sparsemax, "attention by sparsemax or entmax"),
        (by_entmax, "attention by sparsemax or entmax"),
        (best_alone, "top-k attention"),
        (sigmoid_attention, NO_SUM),
        (rectified, NO_SUM),
        (SigmoidAttention, NO_SUM),
        (softmax1, "one more in the denominator"),
        (performer_attention, "by its name attention by random features"),
    ],
)
def test_another_kind_of_attention_is_refused_for_what_it_is(target: Any, said: str) -> None:
    with pytest.raises(QuestionError, match=said):
        find_one(target)


def bypassed(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return scored(q, k) @ v


def over_queries(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return scored(q, k).softmax(-2) @ v


def over_heads(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return scored(q, k).softmax(1) @ v


def unscaled(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return (q @ k.mT).softmax(-1) @ v


def divided_by_sums(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """The exponential is forgotten."""
    return scored(q, k) / scored(q, k).sum(-1, keepdim=True) @ v


def of_features_alone(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """The softmax is taken before the product."""
    return q.softmax(-1) @ k.softmax(-1).mT @ v


def added_for_multiplied(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return (q.unsqueeze(-2) + k.unsqueeze(-3)).sum(-1).softmax(-1) @ v


def of_half_the_columns(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    half = max(q.shape[-1] // 2, 1)
    return (q[..., :half] @ k[..., :half].mT / q.shape[-1] ** 0.5).softmax(-1) @ v


def in_place_of_it(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Nobody says that this is meant."""
    return torch.sigmoid(scored(q, k)) @ v


def one_more(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    powers = scored(q, k).exp()
    return powers / (powers.sum(-1, keepdim=True) + 1.0) @ v


def of_the_best_two(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    scores = scored(q, k)
    least = scores.topk(min(2, k.shape[-2]), dim=-1).values[..., -1:]
    return scores.masked_fill(scores < least, -torch.inf).softmax(-1) @ v


def of_the_best(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Lengths do not matter to it either."""
    return F.one_hot(scored(q, k).argmax(-1), k.shape[-2]).to(v) @ v


TWINS: dict[Callable[..., Tensor], str] = {
    bypassed: "softmax missing: scores are used as weights",
    over_queries: "softmax over the queries",
    over_heads: "",
    unscaled: "scale absent",
    divided_by_sums: "",
    of_features_alone: "",
    added_for_multiplied: "",
    of_half_the_columns: "",
    in_place_of_it: "sigmoid for softmax",
    one_more: "",
    of_the_best_two: "2 best scores alone are seen",
    of_the_best: "",
}


@pytest.mark.parametrize("target", TWINS, ids=lambda one: one.__name__)
def test_a_softmax_that_went_wrong_is_told_as_wrong(target: Any) -> None:
    report = check(target, profile="quick", seed=0, only=["weights", "cross", "causality"])
    assert not report.right
    names = [finding.name for finding in report.findings]
    assert TWINS[target] in names or not TWINS[target], names


def test_whoever_names_a_family_is_asked_all_the_same() -> None:
    assert find_one(by_features, "self").family == "self"


def test_a_right_one_that_speaks_of_another_kind_is_asked() -> None:
    def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Unlike linear attention, top-k attention or sigmoid attention."""
        return scored(q, k).softmax(-1) @ v

    assert find_one(attention).family == "self"
