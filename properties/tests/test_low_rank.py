"""Low-rank additions to projections stay zero; all else is asked as if they were not there."""

from __future__ import annotations

import pytest
from torch import nn

from properties.recognition.targets import find_one
from properties.runs.runner import run
from properties.tests.data import low_rank
from properties.tests.test_latents import LAWS, failing

COUNT = "shape/parameter-shapes-and-count"
ALIVE = "gradient/every-parameter-receives-gradient"
RIGHT = [
    low_rank.LoraAttention,
    low_rank.LoraOfLayersAttention,
    low_rank.LoraLinearAttention,
    low_rank.LoraBesideAttention,
    low_rank.LoraAsAskedAttention,
]


@pytest.mark.parametrize("target", RIGHT)
def test_attention_with_additions_that_are_zero_is_right(target: type[nn.Module]) -> None:
    """Its projections are the layers beside; the additions are told as not asked about."""
    asked = find_one(target)
    assert {"projections", "out-projection"} <= asked.capabilities
    assert any("lora" in name for name in asked.unasked)
    assert set(asked.extras) <= asked.unasked.keys()
    assert run(asked, profile="quick", only=[*LAWS, "shape"]).failed == []


@pytest.mark.parametrize(
    ("target", "law"),
    [
        (low_rank.LoraOffByOne, "symmetry/token-permutation"),
        (low_rank.LoraAsAskedOffByOne, "symmetry/token-permutation"),
        (low_rank.WithoutBase, "oracle/output-within-bound"),
        (low_rank.AddedToTheWrongOne, COUNT),
    ],
)
def test_wrong_attention_with_additions_is_told(target: type[nn.Module], law: str) -> None:
    """A mask that shows a token more, a base that is forgotten, values' addition on the keys."""
    assert failing(find_one(target), law)


def test_additions_that_are_not_zero_leave_nothing_to_fill() -> None:
    """The layer beside them is not all that the projection does: what needs its matrix is not asked."""
    asked = find_one(low_rank.AddedFromTheStart)
    assert not asked.has("projections")


@pytest.mark.parametrize(
    "target",
    [low_rank.DoraAttention, low_rank.BottleneckAttention, low_rank.AddedFromTheStart],
)
def test_what_has_no_gradient_at_some_numbers_alone_is_no_fault(target: type[nn.Module]) -> None:
    """A matrix beside one of zeros, and what stands before a ReLU that lets nothing through."""
    assert run(find_one(target), profile="quick", only=[ALIVE]).failed == []


@pytest.mark.parametrize(
    "target", [low_rank.DoraOfFixedLengthsAttention, low_rank.CutOffBottleneckAttention]
)
def test_what_has_no_gradient_at_any_numbers_is_told(target: type[nn.Module]) -> None:
    assert failing(find_one(target), ALIVE)


def test_an_alpha_without_a_rank_is_not_taken_for_that_of_an_addition() -> None:
    class Sharpened(low_rank.LoraAttention):
        layer = nn.Linear

        def __init__(self, d_model: int, num_heads: int, alpha: float) -> None:
            super().__init__(d_model, num_heads)
            self.alpha = alpha

    assert "rank_scale" not in find_one(Sharpened).matched
