"""The difference of two softmaxes is asked about what holds of it, and not of its weights."""

from __future__ import annotations

import pytest
from torch import nn

from properties.recognition.targets import find_one
from properties.runs.runner import run
from properties.tests.data import differential

LAWS = ["causality", "shape", "gradient", "symmetry"]


def failed(target: type[nn.Module]) -> list[str]:
    return run(find_one(target), profile="quick", only=LAWS).failed


@pytest.mark.parametrize("target", [differential.InPairsOfHeads, differential.InHalvesOfHeads])
def test_a_difference_of_softmaxes_is_told_and_breaks_no_law(target: type[nn.Module]) -> None:
    """Whether its heads are pairs or halves, with a norm that is a layer or none."""
    asked = find_one(target)
    assert "differential attention" in asked.lacking["projections"]
    assert not asked.has("projections")
    assert failed(target) == []


def test_a_difference_that_sees_the_next_token_is_told() -> None:
    """It hides some of the future, and so is neither causal nor the same for every order of tokens."""
    assert failed(differential.SeesTheNextToken) == ["symmetry/token-permutation"]


def test_a_lambda_that_scales_is_no_difference_and_is_accused() -> None:
    asked = find_one(differential.ScaledByLambda)
    assert asked.has("projections")
    report = run(asked, profile="quick", only=["weights"])
    assert [finding.name for finding in report.findings] == ["contexts multiplied by 0.5"]
