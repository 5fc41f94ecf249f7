"""Modules of tokens are asked about the masks that their forward takes."""

from __future__ import annotations

import pytest

from properties.cases.strategies import pinned_cases
from properties.tests.test_calls import broken_by, failing, subject
from properties.zoo.faults import faults
from properties.zoo.faults.calls import OF_MODULES
from properties.zoo.wide import held_ones, sound_ones

KINDS = ("encoder", "masked")
RIGHT = {n: s.target for n, s in sound_ones().items() if s.kind in KINDS}
WRONG = {n: h.target for n, h in held_ones().items() if h.kind in KINDS}
UNSEEN = {
    "encoder-left-causal",  # a decoder as others are
    "encoder-padding-falls-on-queries-of-all",  # (T, T) as some take it
    "encoder-mask-of-items-falls-on-heads",  # where as many items as heads are asked for
    "encoder-causal-beside-a-mask",  # refused: it hides the future only if it is given a mask
    "masked-causal-beside-a-mask-alone",  # a law about causality sees it
    "masked-least-number-added-twice",  # a row of padding, which is a convention
}
FOUND = {
    "encoder-with-any-mask": ({"mask": "mask", "padding": "mask"}, "attend", "attend", "uniform"),
    "encoder-without-a-mask": ({}, "", "", ""),
    "encoder-with-an-added-mask": ({"padding": "attention_mask"}, "", "attend", ""),
    "encoder-true-hides": ({"padding": "mask"}, "", "hide", ""),
    "masked-and-causal": ({"mask": "mask", "padding": "mask"}, "attend", "attend", "uniform"),
    "masked-keys-are-hidden": ({"padding": "key_padding_mask"}, "", "hide", ""),
    "masked-by-two-masks": (
        {"mask": "attn_mask", "bias": "attn_mask", "padding": "padding_mask"},
        "attend",
        "hide",
        "zeros",
    ),
}


@pytest.mark.parametrize("name", FOUND)
def test_what_a_forward_takes_and_what_true_means_is_found(name: str) -> None:
    """And what is asked now is left in no list of what is not."""
    asked = subject(RIGHT[name])
    c = asked.conventions
    assert (dict(asked.takes), c.mask, c.padding, c.empty) == FOUND[name]
    assert not set(asked.takes.values()) & set(asked.unasked)


def test_what_cannot_be_tried_stays_in_the_list_of_what_is_not_asked() -> None:
    """Whose matrices are not found has no level weights to be tried with."""
    assert set(subject(RIGHT["masked-by-the-mask-alone"]).unasked) == {"mask"}


@pytest.mark.parametrize("name", RIGHT)
def test_right_modules_hold_every_law_about_calls(name: str) -> None:
    assert failing(subject(RIGHT[name])) == set()


@pytest.mark.parametrize("name", sorted(WRONG.keys() - UNSEEN))
def test_each_wrong_module_breaks_a_law_about_calls(name: str) -> None:
    assert failing(subject(WRONG[name]))


OWN = ("padding-counted-from-the-left", "a-mask-takes-the-place-of-padding")


@pytest.mark.parametrize("name", [*OF_MODULES, *OWN])
def test_a_fault_of_modules_breaks_the_laws_that_it_is_there_for(name: str) -> None:
    asked = subject(faults()[name].module)
    assert set(faults()[name].breaks) <= broken_by(asked, pinned_cases(asked))
