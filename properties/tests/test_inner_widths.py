"""Widths of all heads together, and of what queries, keys and values are made of, beside the output's."""

from __future__ import annotations

from typing import Any

import pytest
from torch import Tensor, nn
from torch.nn import functional as F

from properties import check
from properties.recognition.targets import find_one


class Split(nn.Module):
    """Queries, keys and values of one width, and an output of another."""

    power = -0.5

    def lay(self, num_heads: int, inputs: tuple[int, int, int], inner: int, out: int) -> None:
        if inner % num_heads:
            raise ValueError(f"{num_heads} heads do not divide {inner}")
        self.num_heads = num_heads
        self.q_proj, self.k_proj, self.v_proj = (nn.Linear(d, inner, bias=False) for d in inputs)
        self.o_proj = nn.Linear(inner, out)

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim != 3:
            raise ValueError(f"x has {x.ndim} axes; expected (B, T, d_in)")
        heads = [
            p(x).unflatten(-1, (self.num_heads, -1))
            for p in (self.q_proj, self.k_proj, self.v_proj)
        ]
        q, k, v = (part.transpose(1, 2) for part in heads)
        context = F.scaled_dot_product_attention(q, k, v, scale=q.shape[-1] ** self.power)
        joined: Tensor = self.o_proj(context.transpose(1, 2).flatten(2))
        return joined


class OfFeatures(Split):
    """The width of all heads together is a setting of its own."""

    def __init__(
        self,
        num_heads: int,
        in_features: int,
        qkv_features: int | None = None,
        out_features: int | None = None,
    ) -> None:
        super().__init__()
        inner = qkv_features or in_features
        self.lay(num_heads, (in_features,) * 3, inner, out_features or in_features)


class OfSizes(Split):
    """Keys and values may be made of other tokens, and heads have widths of their own."""

    def __init__(
        self,
        num_heads: int,
        query_size: int,
        key_size: int | None = None,
        value_size: int | None = None,
        output_size: int | None = None,
        qk_size: int | None = None,
        vo_size: int | None = None,
    ) -> None:
        super().__init__()
        inputs = query_size, key_size or query_size, value_size or query_size
        inner = num_heads * (qk_size or query_size // num_heads)
        self.lay(num_heads, inputs, inner, output_size or query_size)


class OfFeaturesScaledTwice(OfFeatures):
    """1 / head_dim."""

    power = -1.0


class OfSizesScaledTwice(OfSizes):
    """1 / head_dim."""

    power = -1.0


@pytest.mark.parametrize("right", [OfFeatures, OfSizes])
def test_they_are_told_apart(right: Any) -> None:
    """Tokens may have another width than the output, and nothing is held against it."""
    report = check(right, profile="quick")
    assert report.conforms, report.failed
    assert {"rectangular", "projections", "out-projection"} <= find_one(right).capabilities


@pytest.mark.parametrize("wrong", [OfFeaturesScaledTwice, OfSizesScaledTwice])
def test_a_wrong_scale_behind_them_is_told(wrong: Any) -> None:
    report = check(wrong, profile="quick", only=["weights"])
    assert report.findings[0].name.startswith("scale 1/head_dim")


@pytest.mark.parametrize(
    "path",
    [
        "flax.nnx:MultiHeadAttention",
        "flax.linen:MultiHeadDotProductAttention",
        "equinox.nn:MultiheadAttention",
    ],
)
def test_the_modules_of_libraries_that_have_them_are_understood(path: str) -> None:
    """With their matrices, and with masks."""
    pytest.importorskip(path.partition(":")[0])
    found = find_one(path)
    assert {"rectangular", "projections", "out-projection"} <= found.capabilities
    assert found.takes["mask"] == "mask"
