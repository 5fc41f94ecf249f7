"""Positions on several axes, as pixels have them: all tokens stand at 0, and that is told."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from properties.recognition.targets import find_one
from properties.runs.runner import run
from properties.tests.test_needed import LAWS, ODDS

SHAPES = "mask/every-shape-that-is-taken"


def turned(part: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """(B, T, H, R), whose first half goes with its second, by tables (B, T, R)."""
    first, second = part.chunk(2, dim=-1)
    return part * cos[:, :, None] + torch.cat([-second, first], dim=-1) * sin[:, :, None]


class OnTwoAxes(nn.Module):
    """One half of the columns is turned by the row of a pixel, the other by its column."""

    def __init__(
        self, dim: int, num_heads: int = 4, head_dim: int = 8, num_kv_heads: int | None = None
    ):
        super().__init__()
        self.num_heads, self.head_dim = num_heads, head_dim
        groups = num_kv_heads or num_heads
        self.q_proj = nn.Linear(dim, num_heads * head_dim, bias=False)
        self.k_proj, self.v_proj = (nn.Linear(dim, groups * head_dim, bias=False) for _ in "kv")
        self.o_proj = nn.Linear(num_heads * head_dim, dim, bias=False)

    def turn(self, part: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        width = 2 * (part.shape[-1] // 4)
        parts = (each.split([width, width], dim=-1) for each in (part, cos, sin))
        return torch.cat([turned(*half) for half in zip(*parts, strict=True)], dim=-1)

    def forward(
        self, x: Tensor, rope_cos: Tensor, rope_sin: Tensor, attn_mask: Tensor | None = None
    ) -> Tensor:
        query, key, value = (
            layer(x).unflatten(-1, (-1, self.head_dim))
            for layer in (self.q_proj, self.k_proj, self.v_proj)
        )
        query, key = self.turn(query, rope_cos, rope_sin), self.turn(key, rope_cos, rope_sin)
        parts = [part.transpose(1, 2) for part in (query, key, value)]
        context = scaled_dot_product_attention(
            *parts, attn_mask=attn_mask, scale=self.scale(), enable_gqa=True
        )
        return self.o_proj(context.transpose(1, 2).flatten(2))

    def scale(self) -> float:
        return self.head_dim**-0.5


class UnscaledOnTwoAxes(OnTwoAxes):
    def scale(self) -> float:
        return 1.0


class KeysAloneOnTwoAxes(OnTwoAxes):
    """A fault: queries stay where they are."""

    def forward(
        self, x: Tensor, rope_cos: Tensor, rope_sin: Tensor, attn_mask: Tensor | None = None
    ) -> Tensor:
        self.queries = True
        return super().forward(x, rope_cos, rope_sin, attn_mask)

    def turn(self, part: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        stays, self.queries = self.queries, False
        return part if stays else super().turn(part, cos, sin)


def test_every_token_stands_at_zero_and_all_else_is_asked() -> None:
    """Of masks as well, where heads of queries share those of keys."""
    found = find_one(OnTwoAxes)
    report = run(found, profile="quick", only=[*LAWS, SHAPES])
    assert [(r.clause, r.status) for r in report.results if r.status != "pass"] == []
    assert "positions on 2 axes" in found.unasked["rope_cos"]
    assert (found.positions, found.limits.head_dims) == (None, 4)


def test_a_scale_that_is_lost_is_told() -> None:
    assert run(find_one(UnscaledOnTwoAxes), profile="quick", only=[ODDS]).failed == [ODDS]


def test_a_turn_that_does_not_depend_on_differences_alone_is_none_of_several_axes() -> None:
    found = find_one(KeysAloneOnTwoAxes)
    assert not run(found, profile="quick", only=LAWS).right
    assert "rope_cos" not in found.unasked
