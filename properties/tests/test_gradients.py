"""Gradients are asked for as training asks for them, and compared only where there are any."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from properties import diff
from properties.cases.strategies import pinned_cases
from properties.compare import compare
from properties.recognition.targets import find
from properties.reports import comparison
from properties.runs.runner import Run
from properties.spec.clause import clauses
from properties.spec.profiles import PROFILES
from properties.tests.test_rights import accusations
from properties.zoo.faults import faults
from properties.zoo.faults.plain import PlainMultiHead
from properties.zoo.rights.common import SplitHeads, attend

SHAPE = ["shape/output-shape"]
NO_VMAP = {"transform/vmap-equals-loop"}  # SHOULD: a checkpoint with reentry cannot be mapped


class Checkpointed(SplitHeads):
    """The scores are computed again on the way back."""

    reentrant = True

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        inputs = (queries, keys, values, self.dropout)
        return checkpoint(attend, *inputs, use_reentrant=self.reentrant)


class CheckpointedLayers(SplitHeads):
    """Everything is computed again, the projections too."""

    reentrant = True

    def forward(self, x: Tensor) -> Tensor:
        return checkpoint(super().forward, x, use_reentrant=self.reentrant)

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        return attend(queries, keys, values, self.dropout)


class CheckpointedWithoutReentry(Checkpointed):
    reentrant = False


class CheckpointedLayersWithoutReentry(CheckpointedLayers):
    reentrant = False


class CheckpointedHalfGradient(faults()["backward-of-scores-halved"].module):  # type: ignore[misc]
    """A wrong derivative that is computed again."""

    def forward(self, x: Tensor) -> Any:
        return checkpoint(super().forward, x, use_reentrant=True)


class CheckpointedUnscaled(Checkpointed):
    """Right but for the scale."""

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        return super().attend(queries * self.head_dim**0.5, keys, values)


WAYS = [
    Checkpointed,
    CheckpointedLayers,
    CheckpointedWithoutReentry,
    CheckpointedLayersWithoutReentry,
]


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time and memory are of no interest here."""
    monkeypatch.setattr(compare, "measure", lambda pair, subject: {})


@pytest.mark.parametrize("target", WAYS)
def test_right_attention_that_is_computed_again_on_the_way_back_is_right(target: type) -> None:
    """With dropout and without; torch.autograd.grad is forbidden there, backward() is not."""
    assert set(accusations(find(target)[0])) <= NO_VMAP


def test_a_wrong_derivative_is_seen_though_it_is_computed_again() -> None:
    """What takes the place of gradcheck can fail."""
    few = replace(PROFILES["quick"], drawn=4, reduction=20)
    asked = [clauses()["gradient/gradcheck"]]
    [result] = Run(find(CheckpointedHalfGradient)[0], asked, few, 0).report().results
    assert result.status == "fail"
    assert "its slope" in result.message


def test_diff_compares_what_is_computed_again() -> None:
    """Right and right are bit-identical, right and wrong are not."""
    few = {"profile": "quick", "only": SHAPE}
    assert diff(Checkpointed, CheckpointedLayers, **few).verdict == "bit-identical"
    assert diff(Checkpointed, CheckpointedUnscaled, **few).verdict == "different"


class NoWayBack(PlainMultiHead):
    """backward() raises."""

    def mix(self, weights: Tensor, values: Tensor) -> Tensor:
        context = super().mix(weights, values)
        weights.mul_(0.0)
        return context


class NoWayBackEither(NoWayBack):
    pass


def test_what_both_raise_on_is_not_identical() -> None:
    """Nobody has seen the gradients: exit code 2, and the reason."""
    found = diff(NoWayBack, NoWayBackEither, profile="quick", only=SHAPE)
    assert found.gradients.examples == 0
    assert found.gradients.raised > 0 == found.gradients.examples
    assert (found.same, found.exit_code) == (False, 2)
    assert found.verdict == "not compared, because both raised"
    assert comparison.headline(found).startswith("gradients not compared, because both raised")
    assert "gradients: not compared, because both raised" in comparison.background(found)


def test_examples_on_which_both_raise_are_counted_beside_the_others() -> None:
    """They are no part of those that are bit-identical."""

    class Several(PlainMultiHead):
        """Refuses a single token."""

        def forward(self, x: Tensor) -> Tensor:
            if x.shape[1] == 1:
                raise ValueError("one token is too few")
            return super().forward(x)

    found = diff(Several, Several, profile="quick", only=SHAPE)
    assert found.verdict == "bit-identical"
    assert found.outputs.raised > 0
    told = comparison.nearness(found, "outputs")
    assert f"({found.outputs.raised} more not compared, because both raised)" in told


def test_gradients_of_two_calls_do_not_add_up() -> None:
    """backward() leaves nothing behind on the module."""
    example = pinned_cases(find(PlainMultiHead)[0])[0]
    instance = example.build()
    first, second = (instance.gradients(example.x, example.upstream) for _ in range(2))
    assert all((first[name] == second[name]).all() for name in first)
    assert all(parameter.grad is None for parameter in instance.module.parameters())
