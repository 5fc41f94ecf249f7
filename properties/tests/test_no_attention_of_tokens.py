"""What is called attention and takes or gives something else than rows of tokens is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from properties.basics.errors import QuestionError
from properties.recognition.targets import find_one
from properties.runs.runner import run
from properties.tests.test_needed import LAWS, ODDS
from properties.tests.test_refused_kindly import advice

COUNT = "shape/parameter-shapes-and-count"


class OneQuery(nn.Module):
    """Of a step in time: one query for each item, (B, C), beside keys and values (T, B, C)."""

    def __init__(self, d_model: int, num_heads: int) -> None:
        super().__init__()
        if d_model % num_heads:
            raise ValueError(f"d_model {d_model} is not divisible by num_heads {num_heads}")
        self.num_heads, self.head_dim = num_heads, d_model // num_heads
        self.query, self.key = (nn.Linear(d_model, d_model, bias=False) for _ in range(2))
        self.value, self.output = (nn.Linear(d_model, d_model) for _ in range(2))
        self.key_pos_bias = nn.Parameter(torch.randn(64, num_heads))

    def scores(self, query: Tensor, key: Tensor) -> Tensor:
        return torch.einsum("bhd,tbhd->tbh", query, key) / self.head_dim**0.5

    def forward(self, *, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        layers = zip((self.query, self.key, self.value), (query, key, value), strict=True)
        q, k, v = (layer(part).unflatten(-1, (self.num_heads, -1)) for layer, part in layers)
        scores = self.scores(q, k) + self.key_pos_bias[: len(k), None]
        output: Tensor = self.output(torch.einsum("tbh,tbhd->bhd", scores.softmax(0), v).flatten(1))
        return output


class UnscaledQuery(OneQuery):
    def scores(self, query: Tensor, key: Tensor) -> Tensor:
        return torch.einsum("bhd,tbhd->tbh", query, key)


class SplitForAttention(nn.Module):
    """What goes before attention: a projection, and the split into heads."""

    def __init__(self, d_model: int, heads: int) -> None:
        super().__init__()
        self.linear, self.heads = nn.Linear(d_model, d_model), heads

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x).unflatten(-1, (self.heads, -1))


class AroundAPixelAttention(nn.Module):
    """In windows of an image (B, C, H, W), and a convolution that sees neighbours."""

    def __init__(self, dim: int, window_size: int) -> None:
        super().__init__()
        self.window = window_size
        self.to_q, self.to_k, self.to_v = (nn.Conv2d(dim, dim, 1) for _ in range(3))
        self.near = nn.Conv2d(dim, dim, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        assert x.shape[-2] % self.window == 0, f"{x.shape[-2]} is no number of windows"
        q, k, v = (layer(x).flatten(2).mT for layer in (self.to_q, self.to_k, self.to_v))
        output: Tensor = ((q @ k.mT).softmax(-1) @ v).mT.reshape(x.shape) + self.near(x)
        return output


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (OneQuery, r"one query for each item, \(B, C\), beside keys and values \(T, B, C\)"),
        (SplitForAttention, "no other token changes it"),
        (AroundAPixelAttention, "layers that mix neighbours in an image"),
    ],
)
def test_what_is_no_attention_of_tokens_is_refused(kind: type[nn.Module], said: str) -> None:
    with pytest.raises(QuestionError, match=said):
        find_one(kind)


def advised(kind: type[nn.Module]) -> Any:
    """The module of the advice for a class."""
    names: dict[str, Any] = {kind.__name__: kind}
    exec(advice(kind), names)
    return names["MyAttention"]


def test_the_module_that_hands_over_one_query_after_the_other_is_right() -> None:
    """Values alone have a bias, which no argument rules; positions are zero."""
    told = find_one(advised(OneQuery))
    report = run(told, profile="quick", only=[*LAWS, COUNT])
    assert [(r.clause, r.status) for r in report.results if r.status != "pass"] == []
    assert "it is zero" in told.unasked["inner.key_pos_bias"]


def test_a_scale_that_is_lost_in_it_is_told() -> None:
    report = run(find_one(advised(UnscaledQuery)), profile="quick", only=[ODDS])
    assert report.failed == [ODDS]
