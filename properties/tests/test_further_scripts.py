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

FORWARD: Callable[..., Any] = nn.MultiheadAttention.forward


GROUPED = "groups/weights-get-the-gradients-of-all-their-heads"
SAMPLE = {
    "rotary-starts-with-the-queries-alone": "position/start-changes-nothing",
    "rotary-turns-the-rest-too": "position/the-rest-is-left",
    "rotary-positions-thrown-away": "position/rotary-is-a-known-one",
    "grouped-last-head-of-a-group-learns": GROUPED,
    "grouped-gradient-averaged": GROUPED,
    "heads-repeated-and-cut": "error/indivisible-key-value-heads",
    "query-divided-in-place": "state/queries-keys-and-values-untouched",
    "values-scaled-in-place-in-training": "state/queries-keys-and-values-untouched",
    "indivisible-columns-are-left-out": "error/indivisible-heads-lose-nothing",
}
"""A law that a fault breaks."""
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
    """A start, gradients of shared heads, and positions, which a module turns that is recorded as well."""
    fault = faults()[name]
    told = found(fault.module, SAMPLE[name], fault.family)
    right = partner(fault.module, told.subject.conventions)
    assert right is not None
    assert raised(told, fault.module)
    assert not raised(told, right)


CACHES = {
    "cached-with-a-hole": "cache/token-by-token-equals-the-whole",
    "cached-positions-one-behind": "cache/any-split-equals-the-whole",
    "cached-stale-keys": "cache/second-sequence-is-a-first-one",
    "cached-room-of-the-first-batch": "cache/second-batch-may-be-of-another-size",
    "cached-slots-of-the-first-item": "cache/items-keep-their-own",
    "cached-switched-on-for-good": "cache/call-without-it-is-what-it-was",
    "cached-past-written-to": "cache/past-of-the-caller-stays",
    "cached-past-lengthened-in-place": "cache/refusing-loses-nothing",
    "cached-without-an-end": "cache/too-long-is-refused",
    "cached-in-a-ring": "cache/too-long-is-refused",
    "cached-under-no-grad-alone": "cache/recording-gradients-changes-nothing",
    "cached-keys-detached-ever-after": "cache/gradients-without-it-are-what-they-were",
    "cached-and-training-switched-off": "cache/gradients-without-it-are-what-they-were",
    "cached-padding-lost-beside-a-past": "cache/padding-stays-hidden",
    "cached-padding-of-the-new-tokens-alone": "cache/padding-stays-hidden",
    "cached-mask-of-the-last-columns": "cache/mask-of-pairs-goes-on",
    "cached-added-mask-dropped": "cache/mask-of-pairs-goes-on",
    "cached-layers-in-one-place": "cache/layers-keep-their-own",
    "cached-keys-of-the-first-layer": "cache/layers-keep-their-own",
    "kept-beside-x": "cache/kept-context-answers-as-the-context",
    "kept-of-the-first-item": "cache/kept-context-answers-as-the-context",
    "kept-mask-dropped": "cache/mask-of-a-kept-context-hides",
    "kept-and-appended-to": "cache/mask-of-a-kept-context-hides",
    "kept-used-unasked": "cache/another-context-answers-by-itself",
    "kept-after-a-reset": "cache/another-context-answers-by-itself",
}
"""A law of a cache that a fault breaks."""


@pytest.mark.parametrize("name", CACHES)
def test_a_script_of_a_cache_fails_on_the_fault_and_passes_on_what_is_right(name: str) -> None:
    """A sequence in parts: after another one, beside a neighbour, in a full room, with gradients."""
    fault = faults()[name]
    told = found(fault.module, CACHES[name])
    right = partner(fault.module, told.subject.conventions)
    assert right is not None
    assert raised(told, fault.module)
    assert not raised(told, right)


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
