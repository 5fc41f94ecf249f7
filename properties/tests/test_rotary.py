"""Modules whose queries and keys are turned by their positions are asked as all others are."""

from __future__ import annotations

import copy
from functools import cache

import numpy as np
import pytest

from properties.basics.errors import OutsideError
from properties.cases.case import Case
from properties.cases.devices import with_queries_keys_values
from properties.cases.strategies import pinned_cases
from properties.recognition.targets import find
from properties.runs.runner import quiet_and_repeatable
from properties.runs.tally import judge
from properties.spec.clause import clauses
from properties.subjects.limits import Limits
from properties.subjects.positions import Positions
from properties.subjects.subject import Subject
from properties.zoo.wide import sound_ones

TURNED = ("weights", "context", "symmetry", "oracle", "heads", "causality")
HALVES = Positions(coarse=("bfloat16", "float16"))


@cache
def told(name: str, positions: Positions) -> Subject:
    """A right implementation by name, and how it is to be understood."""
    subject = copy.copy(find(sound_ones()[name].target)[0])
    subject.positions, subject.limits = positions, Limits(head_dims=positions.multiple)
    return subject


def broken(subject: Subject, *areas: str) -> dict[str, str]:
    """The binding laws of these areas that pinned examples break."""
    laws = [c for c in clauses().values() if c.area in areas and c.concerns(subject)]
    cases = pinned_cases(subject)
    with quiet_and_repeatable():
        found = {
            law.id: judge(law, case)
            for law in laws
            if law.level == "MUST" and not law.missing(subject)
            for case in cases
        }
    return {id: outcome.message for id, outcome in found.items() if outcome.status != "pass"}


def test_laws_about_queries_and_keys_hold_where_positions_turn_them() -> None:
    """What a law draws is turned back before, so that it meets as drawn."""
    assert broken(told("rotary-by-halves", HALVES), *TURNED) == {}


@pytest.mark.parametrize("positions", [HALVES, Positions("neighbours", 100.0, 0.5, "backwards")])
def test_queries_and_keys_meet_as_they_are_given(positions: Positions) -> None:
    """Whatever the convention; the values are what they are."""
    subject = told("rotary-by-halves", positions)
    case = pinned_cases(subject)[0]
    g = np.random.default_rng(0)
    parts = [g.normal(size=(2, 3, 5, 4)) for _ in range(3)]
    trace = with_queries_keys_values(case, *parts).trace
    for found, part in zip((trace.queries, trace.keys, trace.values), parts, strict=True):
        np.testing.assert_allclose(found[..., :4], part, rtol=0, atol=1e-14)


def test_a_smaller_head_that_cannot_be_turned_is_not_asked() -> None:
    """R has to be a whole number of pairs."""
    assert [Positions(portion=portion).multiple for portion in (1.0, 0.5, 0.25)] == [2, 4, 8]
    case: Case = pinned_cases(told("rotary-of-a-part", Positions(portion=0.5)))[0]
    with pytest.raises(OutsideError):
        case.take(dims=[0, 1]).build()
