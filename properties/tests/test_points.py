"""Attention of points in prompts: tensors have an axis more, and heads may be narrower than tokens."""

from __future__ import annotations

import pytest
from torch import Tensor, nn

from properties.recognition.adapters.module_subject import ModuleSubject
from properties.recognition.targets import find_one
from properties.runs.runner import run
from properties.tests.test_needed import LAWS, ODDS


class OfPrompts(nn.Module):
    """Queries, keys and values (B, P, T, d_model), P prompts for each item."""

    def __init__(self, d_model: int, num_heads: int, downsample_rate: int = 2) -> None:
        super().__init__()
        width = d_model // downsample_rate
        if width % num_heads:
            raise ValueError(f"{width} is not divisible by num_heads {num_heads}")
        self.num_heads, self.head_dim = num_heads, width // num_heads
        self.q_proj, self.k_proj, self.v_proj = (nn.Linear(d_model, width) for _ in "qkv")
        self.o_proj = nn.Linear(width, d_model)

    def scores(self, query: Tensor, key: Tensor) -> Tensor:
        return query @ key.mT / self.head_dim**0.5

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        items, prompts = query.shape[:2]
        layers = zip((self.q_proj, self.k_proj, self.v_proj), (query, key, value), strict=True)
        q, k, v = (
            layer(part).view(items * prompts, -1, self.num_heads, self.head_dim).transpose(1, 2)
            for layer, part in layers
        )
        context = (self.scores(q, k).softmax(-1) @ v).transpose(1, 2)
        output: Tensor = self.o_proj(
            context.reshape(items, prompts, -1, self.num_heads * self.head_dim)
        )
        return output


class Unscaled(OfPrompts):
    def scores(self, query: Tensor, key: Tensor) -> Tensor:
        return query @ key.mT


class Unjoined(nn.Module):
    """A fault: an axis of heads is left, which is none of prompts."""

    def __init__(self, d_model: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q_proj, self.k_proj, self.v_proj = (nn.Linear(d_model, d_model) for _ in "qkv")

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        layers = zip((self.q_proj, self.k_proj, self.v_proj), (query, key, value), strict=True)
        q, k, v = (
            layer(part).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for layer, part in layers
        )
        return ((q @ k.mT / q.shape[-1] ** 0.5).softmax(-1) @ v).transpose(1, 2)


def test_one_prompt_is_asked_with_heads_as_wide_as_tokens() -> None:
    found = find_one(OfPrompts)
    report = run(found, profile="quick", only=[*LAWS, "cross/as-many-keys-as-there-are"])
    assert [(r.clause, r.status) for r in report.results if r.status != "pass"] == []
    assert isinstance(found, ModuleSubject)
    assert found.blueprint.axes == "B 1 T E"
    assert found.unasked["downsample_rate"].endswith("than tokens: it is 1")


@pytest.mark.parametrize(("kind", "law"), [(Unscaled, ODDS), (Unjoined, "shape/output-shape")])
def test_faults_are_told_all_the_same(kind: type[nn.Module], law: str) -> None:
    assert law in run(find_one(kind), profile="quick", only=[law]).failed
