"""What a causal flag hides of a context is found, told and held.

Legend: B batch, T tokens of x, S tokens of the context.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from properties.cases.strategies import pinned_cases
from properties.findings.names import behaves_like
from properties.reports.card import convention
from properties.runs.runner import quiet_and_repeatable
from properties.runs.tally import judge
from properties.spec.clause import clauses
from properties.subjects.card import conventions_of
from properties.tests.test_calls import broken_by, subject
from properties.zoo.wide import held_ones, sound_ones
from properties.zoo.wide.cross_causal import FlagFromTheBottomRight, PlainDiagonal

LAW = "cross/causal-diagonal-is-kept"
FLAGS = {
    "cross-flag-from-the-bottom-right": "causal",
    "cross-flag-from-the-top-left": "is_causal",
    "cross-flag-of-x-alone": "causal",
    "cross-flag-of-the-constructor": None,
    "cross-flag-of-the-constructor-for-x-alone": None,
}
WORDS = {
    "bottom right": "diagonal where T is not S: bottom right (found by trial)",
    "top left": "diagonal where T is not S: top left (found by trial)",
    "x alone": "diagonal beside a context: none, the future of x alone is hidden (found by trial)",
}


@pytest.mark.parametrize("name", FLAGS)
def test_what_the_flag_hides_of_a_context_is_found_and_printed(name: str) -> None:
    """By a flag of forward, or by one of the constructor, of which a call is told nothing."""
    asked, corner = subject(sound_ones()[name].target), sound_ones()[name].says["corner"]
    assert asked.takes.get("causal") == FLAGS[name]
    assert asked.conventions.align == corner
    assert convention("align", conventions_of(asked)["align"]) == WORDS[corner]
    assert not asked.unasked


@pytest.mark.parametrize("corner", ["bottom right", "top left", "x alone"])
def test_a_module_is_held_to_the_corner_that_is_declared(corner: str) -> None:
    """By a flag of either kind: another one than its own is wrong."""
    for name in ("cross-flag-from-the-bottom-right", "cross-flag-of-the-constructor"):
        asked = subject(sound_ones()[name].target).held_to({"align": corner})
        assert (broken_by(asked, pinned_cases(asked)[:6]) == set()) is (corner == "bottom right")


class Hint(PlainDiagonal):
    """The flag only speaks of a mask of pairs."""

    def forward(
        self,
        x: Tensor,
        context: Tensor | None = None,
        mask: Tensor | None = None,
        is_causal: bool = False,
    ) -> Tensor:
        self.mask = mask
        return super().forward(x, context)

    def weigh(self, scores: Tensor) -> Tensor:
        if self.mask is not None:
            scores = scores.masked_fill(~self.mask[:, None], torch.finfo(scores.dtype).min)
        return super().weigh(scores)


class Refused(FlagFromTheBottomRight):
    """Of x alone."""

    def forward(self, x: Tensor, context: Tensor | None = None, causal: bool = False) -> Tensor:
        if causal and context is not None:
            raise ValueError("causal, beside a context")
        return super().forward(x, context, causal)


@pytest.mark.parametrize(("target", "flag"), [(Hint, "is_causal"), (Refused, "causal")])
def test_a_flag_of_which_no_call_tells_is_not_asked_about(target: type, flag: str) -> None:
    asked = subject(target)
    assert "causal" not in asked.takes
    assert flag in asked.unasked
    assert broken_by(asked, pinned_cases(asked)[:4]) == set()


class Always(PlainDiagonal):
    """Nobody has told it to."""

    hides = True


def test_a_module_without_a_flag_that_hides_the_future_of_a_context_is_wrong() -> None:
    wrong = subject(Always)
    law = "cross/as-many-keys-as-there-are"
    with quiet_and_repeatable():
        case = next(c for c in pinned_cases(wrong) if judge(clauses()[law], c).status == "fail")
        (name,) = behaves_like(law, case)
    assert name.startswith("causal across sequences;")


class OfQueries(PlainDiagonal):
    """Queries, keys and values are handed in apart."""

    def forward(self, query: Tensor, key: Tensor, value: Tensor, is_causal: bool = False) -> Tensor:
        self.hides, self.told = is_causal, value
        return super().forward(query, key)

    def sources(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        return x, x if context is None else context, self.told


def test_the_flag_of_a_module_of_queries_keys_and_values_is_asked_from_its_corner() -> None:
    asked = subject(OfQueries)
    assert asked.takes["causal"] == "is_causal"
    assert asked.conventions.align == "bottom right"
    assert clauses()[LAW].concerns(asked)
    assert broken_by(asked, pinned_cases(asked)[:6]) == set()


def test_a_required_context_of_which_the_flag_hides_nothing_has_no_use_for_it() -> None:
    """And is told so, while one that is optional may have it for x alone."""
    assert subject(IgnoredBesideARequiredContext).conventions.align == ""
    wrong = subject(IgnoredBesideARequiredContext)
    assert LAW in broken_by(wrong, pinned_cases(wrong)[:4])
    assert held_ones()["cross-flag-ignored"].named == "causal ignored"


class IgnoredBesideARequiredContext(PlainDiagonal):
    def forward(self, x: Tensor, context: Tensor, is_causal: bool = False) -> Tensor:
        return super().forward(x, context)
