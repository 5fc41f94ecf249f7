"""What says that it is another function is refused with the reason; what says so wrongly is asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from properties.basics.errors import QuestionError
from properties.cases.strategies import pinned_cases
from properties.recognition.targets import find_one
from properties.runs.runner import run
from properties.runs.tally import judge
from properties.spec.clause import clauses
from properties.tests.test_needed import ODDS, Heads, Unscaled

COUNT = "shape/parameter-shapes-and-count"
BIAS = "argument/qkv-bias-has-effect"


def verdict(kind: type[nn.Module], *only: str) -> list[str]:
    """The laws that do not hold."""
    report = run(find_one(kind), profile="quick", only=[*only])
    return [r.clause for r in report.results if r.status != "pass"]


def told(kind: type[nn.Module], law: str, family: str | None = None) -> bool:
    """Whether a law fails in a case that is always asked: no smaller one is looked for."""
    cases = pinned_cases(find_one(kind, family=family))
    return any(judge(clauses()[law], case).status == "fail" for case in cases)


class LinearSelfAttention(Heads):
    """Keys and values are summed before any query comes: no softmax of scores."""

    def forward(self, x: Tensor) -> Tensor:
        shape = (self.num_heads, self.head_dim)
        layers = (self.W_query, self.W_key, self.W_value)
        query, key, value = (layer(x).unflatten(-1, shape).transpose(1, 2) for layer in layers)
        context = query.softmax(-1) @ (key.softmax(-2).mT @ value)
        return self.out_proj(context.transpose(1, 2).flatten(2))


class LinearAttention(Heads):
    """So called after its layers: it is attention as defined."""

    def forward(self, x: Tensor) -> Tensor:
        return self.attend([x, x, x], lambda scores: scores)


class AttentionPool(Heads):
    """The first token alone is a query."""

    def forward(self, x: Tensor) -> Tensor:
        return self.attend([x[:, :1], x, x], lambda scores: scores)


class AttentionInAWindow(Heads):
    """With a number for each pair of 49 tokens."""

    def __init__(self, d_model: int, num_heads: int) -> None:
        super().__init__(d_model, num_heads)
        self.register_buffer("near", torch.zeros(49, 49))

    def forward(self, x: Tensor) -> Tensor:
        return self.attend([x, x, x], lambda scores: scores + self.near)


class AttentionBlock(Heads):
    """One whole layer of an encoder."""

    def __init__(self, d_model: int, num_heads: int) -> None:
        super().__init__(d_model, num_heads)
        self.mlp = nn.Sequential(nn.Linear(d_model, 4 * d_model), nn.Linear(4 * d_model, d_model))

    def forward(self, x: Tensor) -> Tensor:
        y = x + self.attend([x, x, x], lambda scores: scores)
        return y + self.mlp(y)


class AttentionWithFeatureMap(Heads):
    """Takes a function that nothing here can think of."""

    def __init__(self, d_model: int, num_heads: int, phi: Callable[[Tensor], Tensor]) -> None:
        super().__init__(d_model, num_heads)
        self.phi = phi

    def forward(self, x: Tensor) -> Tensor:
        y = self.phi(x)
        return self.attend([y, y, y], lambda scores: scores)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (LinearSelfAttention, "linear attention, without a softmax"),
        (AttentionPool, "one row for all tokens"),
        (AttentionInAWindow, "runs on 49 tokens, and not on 5 or 7"),
        (AttentionBlock, "mlp is a feed-forward layer"),
        (AttentionWithFeatureMap, "'phi=VALUE'"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_another_function_is_refused_with_the_reason(kind: type[nn.Module], said: str) -> None:
    with pytest.raises(QuestionError, match=said):
        find_one(kind)


def test_what_is_attention_is_asked_whatever_its_name_says() -> None:
    assert verdict(LinearAttention, ODDS, COUNT) == []


def test_another_function_is_asked_where_somebody_says_so() -> None:
    """As the refusal tells to."""
    assert told(LinearSelfAttention, ODDS, family="encoder")


class TrainOfItsOwn(Heads):
    """Forgets to give itself back, so that eval() gives nothing."""

    def train(self, mode: bool = True) -> Any:
        super().train(mode)

    def forward(self, x: Tensor) -> Tensor:
        return self.attend([x, x, x], lambda scores: scores)


class BiasesOfTheirOwn(nn.Module):
    """One matrix for three, and a bias for each; those of keys may be a buffer of zeros."""

    trained = True

    def __init__(self, dim: int, num_heads: int, qkv_bias: bool = False) -> None:
        super().__init__()
        self.num_heads, self.head_dim = num_heads, dim // num_heads
        if dim % num_heads:
            raise ValueError(f"dim {dim} is not divisible by num_heads {num_heads}")
        self.qkv, self.proj = nn.Linear(dim, 3 * dim, bias=False), nn.Linear(dim, dim)
        zeros = torch.zeros(dim)
        self.q_bias, self.v_bias = (nn.Parameter(zeros.clone()) if qkv_bias else None for _ in "qv")
        if qkv_bias and self.trained:
            self.k_bias: Any = nn.Parameter(zeros.clone())
        else:
            self.register_buffer("k_bias", zeros if qkv_bias else None)

    def biases(self) -> list[Any]:
        return [self.q_bias, self.k_bias, self.v_bias]

    def forward(self, x: Tensor) -> Tensor:
        bias = None if self.q_bias is None else torch.cat(self.biases())
        joined = nn.functional.linear(x, self.qkv.weight, bias)
        parts = joined.unflatten(-1, (3, self.num_heads, self.head_dim)).permute(2, 0, 3, 1, 4)
        context = nn.functional.scaled_dot_product_attention(*parts)
        return self.proj(context.transpose(1, 2).flatten(2))


class KeyBiasIsABuffer(BiasesOfTheirOwn):
    trained = False


class ValueBiasForQueries(BiasesOfTheirOwn):
    def biases(self) -> list[Any]:
        return [self.v_bias, self.k_bias, self.q_bias]


class FrozenSpeeds(Heads):
    """Rotary angles whose speeds are a parameter that is not trained."""

    def __init__(self, d_model: int, num_heads: int) -> None:
        super().__init__(d_model, num_heads)
        pairs = torch.arange(0, self.head_dim, 2) / self.head_dim
        self.theta = nn.Parameter(10000.0**-pairs, requires_grad=False)

    def turned(self, part: Tensor) -> Tensor:
        angles = torch.arange(part.shape[-2]).to(part)[:, None] * self.theta
        first, second = part.chunk(2, dim=-1)
        cos, sin = angles.cos(), angles.sin()
        return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)

    def scores(self, query: Tensor, key: Tensor) -> Tensor:
        return super().scores(self.turned(query), self.turned(key))

    def forward(self, x: Tensor) -> Tensor:
        return self.attend([x, x, x], lambda scores: scores)


class TrainOfItsOwnUnscaled(Unscaled, TrainOfItsOwn):
    pass


def test_a_train_that_gives_nothing_back_is_no_reason_to_refuse() -> None:
    assert verdict(TrainOfItsOwn, ODDS, COUNT) == []
    assert told(TrainOfItsOwnUnscaled, ODDS)


def test_a_bias_of_each_beside_one_matrix_is_found() -> None:
    assert verdict(BiasesOfTheirOwn, COUNT, BIAS, ODDS) == []
    assert told(ValueBiasForQueries, BIAS)


def test_a_bias_of_keys_that_is_a_buffer_is_none() -> None:
    assert verdict(KeyBiasIsABuffer, COUNT, ODDS) == []
    assert "keys have none" in find_one(KeyBiasIsABuffer).unasked["qkv_bias"]


def test_speeds_of_angles_that_are_not_trained_are_counted_by_nobody() -> None:
    found = find_one(FrozenSpeeds)
    assert run(found, profile="quick", only=[COUNT]).right
    assert "theta" in found.unasked
