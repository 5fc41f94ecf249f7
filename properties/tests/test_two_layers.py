"""A projection that is two linear layers is asked about as one: in the place of the first stands another
order of columns, which the second takes back.
"""

from __future__ import annotations

import pytest
from torch import nn

from properties.recognition.targets import find_one
from properties.runs.runner import run
from properties.tests.data import two_layers
from properties.tests.test_latents import LAWS, failing


def test_projections_of_two_layers_are_asked_about() -> None:
    """The first of each is told as not asked."""
    asked = find_one(two_layers.TwoLayersAttention)
    assert {"projections", "out-projection"} <= asked.capabilities
    assert asked.unasked.keys() == {f"{letter}_proj.0" for letter in "qkvo"}
    assert run(asked, profile="quick", only=[*LAWS, "shape"]).failed == []


@pytest.mark.parametrize(
    ("target", "law"),
    [
        (two_layers.TwoLayersOffByOne, "symmetry/token-permutation"),
        (two_layers.QueriesOfTheFirstLayer, "oracle/output-within-bound"),
    ],
)
def test_wrong_attention_of_two_layers_is_told(target: type[nn.Module], law: str) -> None:
    """A mask that shows a token more, and queries that the second layer takes no part in."""
    assert failing(find_one(target), law)


def test_layers_that_are_not_linear_together_are_told_as_several() -> None:
    """No matrix is what they do, and nothing is wrong with that."""
    asked = find_one(two_layers.BentAttention)
    assert "q_proj is several layers" in asked.lacking["projections"]
    assert run(asked, profile="quick", only=LAWS).failed == []
