"""Modules whose queries and keys are turned by their positions are asked as all others are."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

import numpy as np
import pytest
from torch import nn

from properties.basics.errors import OutsideError
from properties.cases.case import Case
from properties.cases.devices import with_queries_keys_values
from properties.cases.reduction import reduce_case
from properties.cases.strategies import make_case, pinned_cases
from properties.findings.names.standin import behaves_like
from properties.recognition.targets import find
from properties.recognition.turning import measured
from properties.runs.domain import explore
from properties.runs.runner import quiet_and_repeatable
from properties.runs.tally import judge
from properties.spec.clause import TURNED, clauses
from properties.subjects.card import conventions_of
from properties.subjects.limits import Limits
from properties.subjects.positions import Positions
from properties.subjects.subject import Subject
from properties.tests.data import rotary_manners as manners
from properties.truth.parameters import Sizes
from properties.zoo.wide import held_ones, sound_ones

INSIDE = ("weights", "context", "symmetry", "oracle", "heads", "causality")
HALVES = Positions(coarse=("bfloat16", "float16"))


@cache
def told(name: str, positions: Positions) -> Subject:
    """A right implementation by name, and how it is to be understood."""
    subject = copy.copy(find(sound_ones()[name].target)[0])
    subject.positions, subject.limits = positions, Limits(head_dims=positions.multiple)
    return subject


def broken(subject: Subject, *areas: str, few: int | None = None) -> dict[str, str]:
    """The binding laws of these areas that pinned examples break."""
    laws = [c for c in clauses().values() if c.area in areas and c.concerns(subject)]
    cases = pinned_cases(subject)[:few]
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
    assert broken(told("rotary-by-halves", HALVES), *INSIDE) == {}


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


RIGHT = {
    "rotary-by-halves": "halves, base 10000, whole head",
    "rotary-by-neighbours": "neighbours, base 10000, whole head",
    "rotary-with-given-angles": "halves, base 10000, whole head",
    "rotary-backwards": "halves, base 10000, whole head, backwards",
    "rotary-of-a-part": "halves, base 10000, 0.5 of a head",
}
MANNERS = {
    manners.LlamaAttention: "halves, base 500000, whole head",
    manners.LlamaGivenEmbeddings: "halves, base 10000, whole head",
    manners.MetaAttention: "neighbours, base 10000, whole head",
    manners.NeoXAttention: "halves, base 10000, 0.25 of a head",
    manners.TurnedBeside: "neighbours, base 10000, whole head",
    manners.TurnedByNumber: "neighbours, base 10000, whole head",
}
WRONG = {n: one for n, one in held_ones().items() if one.kind == "rotary"}
LAWS = (TURNED, "position/values-are-not-turned", "position/start-changes-nothing")
UNTOLD = {  # order is lost in each of these, and nothing else tells them apart
    "positions along the heads",
    "positions along the batch",
    "angles of the first token for all",
}


@cache
def found(target: Any) -> Subject:
    return find(target)[0]


def known(target: Any) -> str:
    """The convention in words."""
    return conventions_of(found(target))["rotary"]["answer"]


def test_every_right_one_is_here() -> None:
    assert {n for n, one in sound_ones().items() if one.kind == "rotary"} == set(RIGHT)


@pytest.mark.parametrize("name", RIGHT)
def test_the_convention_is_found_and_held(name: str) -> None:
    """By trial, whatever the names are; cosines and sines that forward asks for are handed to it."""
    target = sound_ones()[name].target
    assert known(target) == RIGHT[name]
    assert broken(found(target), "position", "oracle", few=5) == {}


@pytest.mark.parametrize("manner", MANNERS)
def test_the_public_manners_are_right(manner: type[nn.Module]) -> None:
    """Angles in float32 whatever the format are a convention of precision."""
    assert known(manner) == MANNERS[manner]
    assert broken(found(manner), "position", "oracle", few=5) == {}


def test_an_encoder_that_is_handed_a_mask_or_none_is_right_in_float32() -> None:
    """Its tokens are not exchangeable, a required mask may be None, and what computes in float32 with
    angles in float32 is found to.
    """
    asked = found(manners.MetaGivenMask)
    assert asked.family == "encoder"
    assert dict(asked.takes) == {"bias": "mask", "start": "freqs_cis"}
    inside, limitations = explore(asked)
    assert [each.words for each in limitations] == [
        "computes the weights in float32, whatever the format of the input"
    ]
    assert broken(inside, "position", "oracle", "symmetry", "mask", few=5) == {}


def test_who_speaks_of_cosines_and_turns_nothing_has_no_positions() -> None:
    assert found(manners.Sinusoidal).positions is None
    assert not {
        law
        for law in clauses()
        if "position/" in law and clauses()[law].concerns(found(manners.Sinusoidal))
    }


def test_no_trial_is_made_of_what_does_not_speak_of_rotations(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An ordinary class costs nothing."""
    monkeypatch.setattr(measured, "built", lambda *arguments: pytest.fail("a trial was made"))
    assert find("attention:MultiHeadAttention")[0].positions is None


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_turn_breaks_a_law_about_positions_and_has_its_name(name: str) -> None:
    """One root, which the laws that look into queries and keys wait for."""
    wrong, subject = WRONG[name], found(WRONG[name].target)
    law = next(law for law in LAWS if failing(subject, law))
    names = behaves_like(law, failing(subject, law)[0])
    expected = "positions ignored" if wrong.named in UNTOLD else wrong.named
    assert [each.partition("; look for ")[0] for each in names] == [expected]


def failing(subject: Subject, law: str) -> list[Case]:
    """The pinned examples that break a law."""
    with quiet_and_repeatable():
        return [c for c in pinned_cases(subject) if judge(clauses()[law], c).status == "fail"]


def test_what_looks_into_queries_and_keys_waits_for_the_turn() -> None:
    """And nothing else does."""
    waiting = {c.id for c in clauses().values() if TURNED in c.awaited}
    assert "oracle/output-within-bound" in waiting
    assert "shape/output-shape" not in waiting
    of_positions = {id for id in waiting if id.startswith("position/")}
    assert of_positions == {"position/far-positions", "position/start-changes-nothing"}


def test_float16_may_lose_digits_of_what_a_turn_leaves_small() -> None:
    """Pairs that are turned and rounded to float16 before they meet: divided by 64 they are subnormal."""
    subject = find(manners.MetaGivenMask)[0]
    law = clauses()["symmetry/reciprocal-scaling-of-q-and-k"]
    sizes = Sizes(batch=2, tokens=12, d_in=12, heads=3, head_dim=4, context_length=12)
    case = make_case(subject, sizes, "float16", "ordinary", False, 0.5, 1, 11)
    assert judge(law, case).status == "pass"


def test_another_instance_is_of_a_width_that_can_be_turned() -> None:
    """One column more could not be, and the law was not asked."""
    case = pinned_cases(find(manners.MetaAttention)[0])[0]
    assert judge(clauses()["state/instances-share-nothing"], case).status == "pass"


def test_a_case_is_made_small_within_what_can_be_turned() -> None:
    """Also where a law looks at none of its columns, so that it fails whatever they are."""
    case = pinned_cases(told("rotary-by-halves", HALVES))[0]
    assert reduce_case(case, lambda candidate: True, 200).sizes.head_dim == 2
