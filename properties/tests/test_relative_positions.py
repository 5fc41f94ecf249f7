"""Relative positions by T5's names: asked where weights can be set, and no accusation where they cannot."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from properties.recognition.targets import find_one
from properties.runs.runner import run
from properties.tests.test_needed import ODDS

ORDER = "symmetry/token-permutation"


class T5Attention(nn.Module):
    """A number for each distance; heads as wide as d_kv, and no scale."""

    axis = -1  # of the softmax

    def __init__(self, d_model: int, num_heads: int, d_kv: int = 16) -> None:
        super().__init__()
        self.num_heads = num_heads
        for name in "qkv":
            self.add_module(name, nn.Linear(d_model, num_heads * d_kv, bias=False))
        self.o = nn.Linear(num_heads * d_kv, d_model, bias=False)
        self.relative_attention_bias = nn.Embedding(31, num_heads)

    def forward(self, x: Tensor) -> Tensor:
        heads = (layer(x).unflatten(-1, (self.num_heads, -1)) for layer in (self.q, self.k, self.v))
        query, key, value = (part.transpose(1, 2) for part in heads)
        places = torch.arange(x.shape[1])
        distance = (places - places[:, None]).clamp(-15, 15) + 15
        scores = query @ key.mT + self.relative_attention_bias(distance).permute(2, 0, 1)
        return self.o((scores.softmax(self.axis) @ value).transpose(1, 2).flatten(2))


class SumsOverHeadsAttention(T5Attention):
    axis = 1


class UnwritableAttention(T5Attention):
    """Heads are half as wide again as any argument says, so that weights cannot be set."""

    def __init__(self, d_model: int, num_heads: int) -> None:
        super().__init__(d_model, num_heads, 3 * d_model)


class AttentionOfTheBatch(UnwritableAttention):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + x.mean(dim=0)


class AttentionBackwards(UnwritableAttention):
    """It has no relative positions, and mixes up its tokens."""

    def __init__(self, d_model: int, num_heads: int) -> None:
        super().__init__(d_model, num_heads)
        del self.relative_attention_bias

    def forward(self, x: Tensor) -> Tensor:
        self.relative_attention_bias = lambda distance: torch.zeros(*distance.shape, self.num_heads)
        return super().forward(x).flip(1)


def failed(kind: type[nn.Module], *only: str) -> set[str]:
    results = run(find_one(kind), profile="quick", only=only).results
    return {r.clause for r in results if r.status == "fail"}


def test_the_width_of_a_head_is_called_d_kv_where_no_context_is_taken() -> None:
    subject = find_one(T5Attention)
    assert {"projections", "own-head-dim"} <= subject.capabilities
    assert not failed(T5Attention, ORDER, ODDS, "weights/rows-sum-to-one")


def test_a_softmax_over_heads_beside_relative_positions_is_told() -> None:
    assert failed(SumsOverHeadsAttention, "weights/rows-sum-to-one")


def test_what_order_does_is_not_asked_where_relative_positions_stay() -> None:
    subject = find_one(UnwritableAttention)
    assert "projections" in subject.lacking
    assert "order of tokens" in subject.unasked["relative_attention_bias.weight"]
    assert not failed(UnwritableAttention, "symmetry")


@pytest.mark.parametrize(
    ("kind", "law"),
    [
        (AttentionOfTheBatch, "symmetry/batch-independence"),
        (AttentionBackwards, ORDER),
    ],
)
def test_what_they_do_not_explain_is_told(kind: type[nn.Module], law: str) -> None:
    assert law in failed(kind, law)
