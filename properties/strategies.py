"""Hypothesis strategies for attention, for your own tests.

    from hypothesis import given
    from properties.strategies import cases

    @given(cases(MyAttention))
    def test_mine(case):
        assert abs(case.output - case.trace.output).max() < 1e-3

A case has x of shape (B, T, d_in) and `weights`, float64 arrays whose numbers are exact in its `dtype`,
its `sizes` and `seed`; `case.output` is what the target gives for them, `case.trace` what is right, step
by step, and `case.budget.output` the error that rounding may make, all (B, T, W) in float64.
`case.build().module` is the module itself, with the weights in it.

Both strategies shrink as Hypothesis's own do: sizes towards 1, formats towards the widest, and the seed
of the numbers towards 0. Only `properties.check` goes on to make single numbers simple.
"""

from __future__ import annotations

from typing import Any

from hypothesis.strategies import SearchStrategy

from properties.cases import strategies
from properties.cases.case import Case
from properties.recognition.targets import find_one
from properties.truth.parameters import Sizes

__all__ = ["Case", "Sizes", "cases", "sizes"]


def cases(target: Any, family: str | None = None, *, largest: int = 9) -> SearchStrategy[Case]:
    """Whole examples for a target, in the formats that it runs in.

    target, family: as for `properties.check`; largest: of the sizes B, T, H, D and d_in, at least 5.
    Raises `QuestionError` where the target cannot be asked, ValueError for a largest below 5.
    """
    return strategies.cases(find_one(target, family), largest=largest)


def sizes(target: Any, family: str | None = None, *, largest: int = 9) -> SearchStrategy[Sizes]:
    """Sizes that the target's constructor takes, pairwise different but for a named coincidence."""
    return strategies.sizes(find_one(target, family), largest=largest)
