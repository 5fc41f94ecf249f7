"""Scripts of calls that begin later, share a past, go item by item, or are told to torch's own module."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from typing import Any
from unittest import mock

import pytest
from torch import Tensor, nn

from properties.findings.scripts import script
from properties.findings.scripts.script import Script
from properties.recognition.targets import find
from properties.runs.runner import Run, quiet_and_repeatable
from properties.spec.clause import clauses
from properties.tests.data import one_mask
from properties.tests.test_call_scripts import UNREDUCED, raised
from properties.tests.test_rotary import failing
from properties.zoo.faults import faults
from properties.zoo.partners import partner
from properties.zoo.wide.cached import CachedByTheCaller
from properties.zoo.wide.cached_manners import CachedAsInGpt2
from properties.zoo.wide.cached_padded import CachedWithPadding
from properties.zoo.wide.rotary import PlainRotary

FORWARD: Callable[..., Any] = nn.MultiheadAttention.forward


class Started(PlainRotary):
    """Queries and keys begin at one position."""

    def forward(self, x: Tensor, start_pos: int = 0) -> Tensor:
        """(B, T, d_model) -> (B, T, d_model)."""
        return self.attend(x, self.angles[start_pos : start_pos + x.shape[1]])


GROUPED = "groups/weights-get-the-gradients-of-all-their-heads"
SAMPLE: dict[str, tuple[str, type[nn.Module] | None]] = {
    "rotary-starts-with-the-queries-alone": ("position/start-changes-nothing", Started),
    "grouped-last-head-of-a-group-learns": (GROUPED, None),
    "grouped-gradient-averaged": (GROUPED, None),
    "cached-past-written-to": ("cache/past-of-the-caller-stays", CachedByTheCaller),
    "cached-past-lengthened-in-place": ("cache/past-of-the-caller-stays", CachedAsInGpt2),
}
"""A law that a fault breaks, and the right module where it is not the fault's partner."""
FAR = "cross/padding-of-the-context-is-hidden"
TORCHS = {
    "mask/padding-shows-what-is-real": {"key_padding_mask": None},
    FAR: {"key_padding_mask": None},
    "cross/values-are-made-of-their-own-tokens": {},
}
"""A law of calls, and what a wrong MultiheadAttention is told in place of what it is given."""


def found(target: Any, clause: str, family: str | None = None) -> Script:
    """The script for a target's failure of a clause."""
    run = Run(find(target, family)[0], [clauses()[clause]], UNREDUCED, 0)
    tallies = run.tallies()
    with quiet_and_repeatable(), redirect_stdout(StringIO()):
        run.go(tallies)
        case = tallies[clause].case
        assert case is not None
        told = script(clauses()[clause], case)
    assert told is not None
    return told


@pytest.mark.parametrize("name", SAMPLE)
def test_a_script_fails_on_the_fault_and_passes_on_what_is_right(name: str) -> None:
    """A start, gradients of shared heads, and a past that two sequences share."""
    fault, (clause, right) = faults()[name], SAMPLE[name]
    told = found(fault.module, clause, fault.family)
    assert raised(told, fault.module)
    assert not raised(told, right or partner(fault.module, told.subject.conventions))


CACHES: dict[tuple[str, str], type[nn.Module]] = {
    ("cached-past-lengthened-in-place", "cache/refusing-loses-nothing"): CachedAsInGpt2,
    ("cached-padding-lost-beside-a-past", "cache/padding-stays-hidden"): CachedWithPadding,
    ("cached-padding-of-the-new-tokens-alone", "cache/padding-stays-hidden"): CachedWithPadding,
}
"""The right module beside a fault and a law of a cache."""


@pytest.mark.parametrize(("name", "clause"), CACHES)
def test_a_script_of_a_cache_fails_on_the_fault_and_passes_on_what_is_right(
    name: str, clause: str
) -> None:
    """A step that is refused in between, and tokens that are padding."""
    fault = faults()[name]
    told = found(fault.module, clause)
    assert raised(told, fault.module)
    assert not raised(told, CACHES[name, clause])


def test_a_mask_for_one_item_is_handed_over_item_by_item() -> None:
    """In a script as by the suite."""
    told = found(one_mask.KeysBeyondShown, "mask/shows-what-it-shows")
    assert "for item in range(" in told.body
    assert raised(told, one_mask.KeysBeyondShown)
    assert not raised(told, one_mask.OneMask)


def test_a_right_module_that_adds_a_mask_for_one_item_is_not_accused() -> None:
    """Its argument is called as that of a boolean mask, and is none."""
    subject = find(one_mask.AddedMask)[0]
    assert dict(subject.takes) == {"bias": "mask"}
    ids = ["mask/bias-is-added-to-the-scores", "memory/earlier-call-is-forgotten"]
    assert {clause: failing(subject, clause) for clause in ids} == {clause: [] for clause in ids}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("clause", TORCHS)
def test_calls_of_torchs_own_module_are_written_down(clause: str) -> None:
    """With tokens of a context that are as wide as those of x, or not."""

    def forward(
        self: nn.MultiheadAttention, query: Tensor, key: Tensor, value: Tensor, **told: Any
    ) -> Any:
        instead = TORCHS[clause]
        return FORWARD(self, query, key, value if instead else key, **{**told, **instead})

    with mock.patch.object(nn.MultiheadAttention, "forward", forward):
        told = found("torch.nn:MultiheadAttention", clause)
        assert raised(told, nn.MultiheadAttention)
    assert not raised(told, nn.MultiheadAttention)
