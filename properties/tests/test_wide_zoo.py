"""Each wrong implementation is wrong, each right one right, by one plain formula in float64."""

from __future__ import annotations

import importlib
from collections import Counter

import pytest
import torch
from torch import Tensor

from properties.tests.wide_calls import calls
from properties.zoo.wide import KINDS, Held, Sound, held_ones, sound_ones

SOUND = 1e-5  # buffers and half precision aside, what is right is right to rounding
WRONG = 1e-3  # what a reader of printed numbers would see


def far(got: Tensor, want: Tensor) -> float:
    """The largest difference; infinite where shapes differ or one is finite alone."""
    got, want = got.detach(), want.detach()
    if got.shape != want.shape:
        return float("inf")
    if got.dtype == torch.float16:
        got = torch.where((got - want).abs() < 1e-2, want, got.to(want))
    same = torch.isclose(got.double(), want.double(), 0, 0, equal_nan=True)
    difference = (got.double() - want.double()).abs().masked_fill(same, 0.0)
    return float(difference.nan_to_num(nan=float("inf")).max())


@pytest.mark.parametrize("one", sound_ones().values(), ids=sound_ones())
def test_each_right_implementation_is_right_in_every_call_that_it_takes(one: Sound) -> None:
    taken = 0
    for how, of_kind in calls()[one.kind].items():
        for got, want in of_kind(one) or ():
            assert far(got, want) < SOUND, how
            taken += 1
    assert taken


@pytest.mark.parametrize("one", held_ones().values(), ids=held_ones())
def test_each_wrong_implementation_is_wrong_in_the_call_that_shows_it(one: Held) -> None:
    pairs = calls()[one.kind][one.how](one)
    assert pairs
    assert max(far(got, want) for got, want in pairs) > WRONG


def test_each_is_found_at_its_address() -> None:
    for one in (held_ones() | sound_ones()).values():
        module, name = one.address.split(":")
        assert getattr(importlib.import_module(module), name) is one.target


def test_each_call_is_taken_by_a_right_one() -> None:
    for kind, of_kind in calls().items():
        right = [one for one in sound_ones().values() if one.kind == kind]
        for how, function in of_kind.items():
            assert any(function(one) for one in right), f"{kind}: {how}"


def test_each_wrong_one_is_shown_by_a_call_that_there_is() -> None:
    for one in held_ones().values():
        assert one.how in calls()[one.kind], one.name


def test_each_kind_has_right_ones_and_wrong_ones() -> None:
    right, wrong = (
        Counter(one.kind for one in some().values()) for some in (sound_ones, held_ones)
    )
    assert all(right[kind] >= 3 and wrong[kind] >= 6 for kind in KINDS)


@pytest.mark.parametrize("one", held_ones().values(), ids=held_ones())
def test_what_a_special_call_shows_the_plain_one_does_not(one: Held) -> None:
    if one.how != "plain":
        assert all(far(got, want) < SOUND for got, want in calls()[one.kind]["plain"](one) or ())
