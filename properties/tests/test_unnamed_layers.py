"""Layers whose names say nothing: which makes queries, keys, values and the output is found by trial."""

from __future__ import annotations

import math
from itertools import permutations

import pytest
import torch
from torch import Tensor, nn

from properties.recognition.targets import find_one
from properties.runs.runner import run
from properties.tests.test_call_scripts import raised
from properties.tests.test_further_scripts import found

LAWS = ["oracle", "weights", "projection"]
SCALE = "weights/log-odds-are-scaled-score-differences"


class FourLayersAttention(nn.Module):
    """Causal heads; roles: those of its layers, in the order in which these are held."""

    names: tuple[str, ...] = ("fc1", "fc2", "fc3", "fc4")
    roles = "qkvo"
    power = 0.5
    causal = True

    def __init__(self, d_model: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        for name in self.names:
            self.add_module(name, nn.Linear(d_model, d_model))

    def layer(self, role: str) -> nn.Module:
        return self.get_submodule(self.names[self.roles.index(role)])

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, d_model) -> the same."""
        q, k, v = (self.layer(r)(x).unflatten(-1, (self.num_heads, -1)) for r in "qkv")
        scores = torch.einsum("bthd,bshd->bhts", q, k) / math.pow(q.shape[-1], self.power)
        if self.causal:
            future = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
            scores = scores.masked_fill(future, -torch.inf)
        context = torch.einsum("bhts,bshd->bthd", scores.softmax(-1), v)
        output: Tensor = self.layer("o")(context.flatten(2))
        return output


class ByLettersAttention(FourLayersAttention):
    names = ("a", "b", "c", "d")
    roles = "vkqo"
    causal = False


class OutFirstAttention(FourLayersAttention):
    names = ("linear1", "linear2", "linear3", "linear4")
    roles = "oqkv"


class ScaledTwiceAttention(FourLayersAttention):
    """Wrong: by the width, not its root."""

    roles = "kqvo"
    power = 1.0


class KeysFirstAttention(FourLayersAttention):
    roles = "kqvo"


class KeysFirstInAListAttention(FourLayersAttention):
    """In a list, where the first layer is for queries in most code."""

    names = ("linears.0", "linears.1", "linears.2", "linears.3")
    roles = "kqvo"

    def __init__(self, d_model: int, num_heads: int) -> None:
        nn.Module.__init__(self)
        self.num_heads = num_heads
        self.linears = nn.ModuleList(nn.Linear(d_model, d_model) for _ in range(4))


class OneHeadAttention(nn.Module):
    """Three layers, and rectangular ones."""

    def __init__(self, d_in: int, d_out: int) -> None:
        super().__init__()
        self.a, self.b, self.c = (nn.Linear(d_in, d_out, bias=False) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, d_in) -> (B, T, d_out)."""
        v, q, k = self.a(x), self.b(x), self.c(x)
        output: Tensor = (q @ k.mT / k.shape[-1] ** 0.5).softmax(-1) @ v
        return output


RIGHT = [
    FourLayersAttention,
    ByLettersAttention,
    OutFirstAttention,
    KeysFirstInAListAttention,
    OneHeadAttention,
]


@pytest.mark.parametrize("target", RIGHT)
def test_layers_are_held_to_the_formula_by_what_they_do(target: type[nn.Module]) -> None:
    asked = find_one(target, "encoder" if target is ByLettersAttention else None)
    assert "projections" in asked.capabilities
    report = run(asked, profile="quick", only=LAWS)
    assert [(r.clause, r.message) for r in report.results if r.status == "fail"] == []


@pytest.mark.parametrize("roles", ["".join(one) for one in permutations("qkvo")])
def test_every_order_of_layers_is_found(roles: str) -> None:
    target = type("Attention", (FourLayersAttention,), {"roles": roles, "power": 1.0})
    matched = find_one(target).matched
    names = dict(zip(roles, FourLayersAttention.names, strict=True))
    for role in ("query", "key", "value", "out"):
        assert matched[role].startswith(names[role[0]]), "found though the scale is wrong"


def test_a_wrong_scale_between_such_layers_is_told() -> None:
    assert SCALE in run(find_one(ScaledTwiceAttention), profile="quick", only=LAWS).failed


def test_a_script_writes_into_such_layers() -> None:
    told = found(ScaledTwiceAttention, "oracle/output-within-bound")
    assert raised(told, ScaledTwiceAttention)
    assert not raised(told, KeysFirstAttention)
