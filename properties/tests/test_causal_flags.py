"""A causal flag of a module that takes x alone is found, told and held.

Legend: B batch, T tokens.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from properties.cases.strategies import pinned_cases
from properties.reports.card import by_argument
from properties.runs.runner import quiet_and_repeatable
from properties.runs.tally import judge
from properties.spec.clause import clauses
from properties.tests.test_calls import failing, subject
from properties.zoo.faults.plain import PlainMultiHead
from properties.zoo.wide import sound_ones
from properties.zoo.wide.encoder import PlainEncoder
from properties.zoo.wide.encoder_flags import (
    FlagBesidePadding,
    FlagCannotBeSwitchedOff,
    FlagOnByDefault,
    PlainFlag,
)

LAW = "mask/causal-flag-hides-the-future"
FAMILIES = {
    "encoder-flag-of-the-kernel": "encoder",
    "encoder-flag-with-a-buffer": "encoder",
    "encoder-flag-with-kept-masks": "encoder",
    "encoder-flag-beside-padding": "encoder",
    "encoder-flag-on-by-default": "multihead",
}


@pytest.mark.parametrize("name", FAMILIES)
def test_what_the_default_of_a_flag_hides_decides_the_family(name: str) -> None:
    """Whether a triangle is kept, or made in the code, says nothing beside a flag."""
    asked = subject(sound_ones()[name].target)
    assert asked.family == FAMILIES[name]
    assert by_argument(asked.takes)[asked.takes["causal"]] == "whether the future is hidden"
    assert clauses()[LAW].concerns(asked)
    assert not asked.unasked


class OneHead(nn.Module):
    """A head with a triangle that is used where it is asked for."""

    triangle: Tensor

    def __init__(self, d_in: int, d_out: int, context_length: int) -> None:
        super().__init__()
        self.query, self.key = nn.Linear(d_in, d_out), nn.Linear(d_in, d_out)
        self.value = nn.Linear(d_in, d_out)
        triangle = torch.ones(context_length, context_length, dtype=torch.bool).triu(1)
        self.register_buffer("triangle", triangle)

    def forward(self, x: Tensor, causal: bool = False) -> Tensor:
        scores = self.query(x) @ self.key(x).mT / self.query.out_features**0.5
        if causal:
            tokens = x.shape[-2]
            scores = scores.masked_fill(self.triangle[:tokens, :tokens], -torch.inf)
        context: Tensor = scores.softmax(-1) @ self.value(x)
        return context


def test_one_head_with_a_flag_that_is_off_hides_nothing() -> None:
    asked = subject(OneHead)
    assert (asked.family, asked.takes) == ("self", {"causal": "causal"})
    assert failing(asked) == set()


class KeptByTheFirstLength(PlainFlag):
    """The triangle of the first call is cut to fewer tokens, and too small for more."""

    kept: Tensor | None = None

    def past(self, scores: Tensor) -> Tensor:
        if self.kept is None:
            self.kept = super().past(scores)
        return self.kept[: len(scores), : len(scores)]


class TakesThePlaceOfPadding(FlagBesidePadding):
    """One of the two is used."""

    def hide(self, scores: Tensor, seen: Tensor | None) -> Tensor:
        return super().hide(scores, None if self.causal else seen)


@pytest.mark.parametrize(
    ("target", "law"),
    [(KeptByTheFirstLength, "memory/earlier-call-is-forgotten"), (TakesThePlaceOfPadding, LAW)],
)
def test_a_flag_is_asked_for_other_lengths_and_beside_padding(target: type, law: str) -> None:
    wrong = subject(target)
    with quiet_and_repeatable():
        assert any(judge(clauses()[law], c).status == "fail" for c in pinned_cases(wrong))


class Hint(PlainEncoder):
    """The flag only speaks of the mask."""

    def forward(self, x: Tensor, mask: Tensor | None = None, is_causal: bool = False) -> Tensor:
        return super().forward(x, mask)


class BesideAMaskRefused(FlagBesidePadding):
    """One or the other."""

    def forward(
        self, x: Tensor, padding_mask: Tensor | None = None, causal_mask: bool = False
    ) -> Tensor:
        if causal_mask and padding_mask is not None:
            raise ValueError("causal_mask is given beside padding_mask; one of them was expected")
        return super().forward(x, padding_mask, causal_mask)


class Always(PlainMultiHead):
    """It hides the future, as its context_length says; the flag is off and is for others."""

    def forward(self, x: Tensor, is_causal: bool = False) -> Tensor:
        return super().forward(x)


class MaskOfACaller(PlainEncoder):
    """A mask that is called as a flag is."""

    def forward(self, x: Tensor, causal_mask: Tensor | None = None) -> Tensor:
        return super().forward(x)


@pytest.mark.parametrize(
    ("target", "flag", "why"),
    [
        (Hint, "is_causal", "it hides nothing by itself, and may only speak of a mask"),
        (BesideAMaskRefused, "causal_mask", "a call with it beside a mask raises"),
        (Always, "is_causal", "where it is False something is hidden as well"),
        (MaskOfACaller, "causal_mask", "it keeps its default"),
    ],
)
def test_a_flag_of_which_no_trial_tells_is_not_asked_and_it_is_said_why(
    target: type, flag: str, why: str
) -> None:
    asked = subject(target)
    assert "causal" not in asked.takes
    assert asked.unasked[flag].endswith(f": {why}")


def test_a_flag_that_is_on_by_default_is_asked_as_false() -> None:
    assert LAW in failing(subject(FlagCannotBeSwitchedOff))
    assert failing(subject(FlagOnByDefault)) == set()
