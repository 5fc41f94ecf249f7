"""Every clause passes on a right module and fails on the faults that are said to break it."""

from __future__ import annotations

from pathlib import Path

import pytest

from properties.recognition.targets import find
from properties.reports import specification
from properties.spec.clause import clauses
from properties.spec.profiles import PROFILES
from properties.subjects.subject import Subject
from properties.tests.test_rights import ASKED, BRIEF, Untold
from properties.zoo.faults import Fault, faults
from properties.zoo.faults.plain import PlainCausal, PlainMultiHead, PlainWrapper
from properties.zoo.matrix import asked_alone

RIGHT = {
    "plain": "attention:SimplifiedSelfAttention",
    "self": "attention:SelfAttention_v2",
    "causal": PlainCausal,
    "wrapper": PlainWrapper,
    "multihead": PlainMultiHead,
}


def failing(subject: Subject, *ids: str) -> set[str]:
    """Which of these clauses fail, asked without those that they depend on, so that none is blocked."""
    return set(asked_alone(subject, [clauses()[id] for id in ids], PROFILES["quick"], 0))


@pytest.mark.parametrize("fault", faults().values(), ids=lambda fault: fault.name)
def test_a_fault_breaks_the_clauses_it_names(fault: Fault) -> None:
    """Each clause that a fault is registered with fails on it, whatever else does."""
    assert set(fault.breaks) - failing(find(fault.module, fault.family)[0], *fault.breaks) == set()


@pytest.mark.parametrize("id", ["error/too-many-tokens", "error/too-many-tokens-raise"])
def test_a_context_length_of_one_is_left_to_its_own_clause(id: str) -> None:
    """A mask of 1 x 1 that is broadcast is told as an edge, and as nothing else."""
    fault = faults()["context-length-of-one-broadcasts"]
    assert not failing(find(fault.module, fault.family)[0], id)


def test_wrong_weights_are_no_weights_in_float32() -> None:
    """Those of zero are numbers of float32, too, and right in neither format."""
    fault = faults()["batch-statistics"]
    assert not failing(
        find(fault.module, fault.family)[0], "numerics/float64-weights-are-no-float32"
    )


def test_every_clause_is_broken_by_a_fault() -> None:
    """A law that no fault breaks is not tested."""
    broken = {id for fault in faults().values() for id in fault.breaks}
    assert set(clauses()) - broken == set()


def test_every_fault_breaks_a_clause_that_exists() -> None:
    """A fault that no law catches is a hole, and a misspelt id would hide one."""
    for fault in faults().values():
        assert fault.breaks
        assert set(fault.breaks) <= set(clauses()), fault.name


@pytest.mark.parametrize("family", RIGHT)
def test_a_right_module_breaks_no_clause(family: str) -> None:
    """The plain modules that faults change hold every MUST and SHOULD clause of their family.

    Not what MAY be: a NaN in the future reaches every implementation that multiplies by its zero.
    """
    report = Untold(find(RIGHT[family], family)[0], ASKED, BRIEF, seed=0).report()
    assert {r.clause: r.message for r in report.results if r.status != "pass"} == {}
    assert report.conforms


def test_a_clause_is_placed_after_those_it_depends_on() -> None:
    """Whatever a clause needs is decided before it is asked."""
    order = list(clauses())
    for clause in clauses().values():
        assert all(order.index(earlier) < order.index(clause.id) for earlier in clause.after)


def test_spec_md_and_the_clauses_say_the_same() -> None:
    """SPEC.md holds every clause's section as the code has it, and no other."""
    text = Path(__file__).parents[2].joinpath("SPEC.md").read_text(encoding="utf-8")
    assert text.partition(specification.MARK)[2].strip() == specification.written().strip()


def test_a_clause_has_a_reason_and_a_requirement_of_one_sentence() -> None:
    """The docstring of a check is its reason; the requirement ends with its only full stop."""
    for clause in clauses().values():
        assert clause.reason, clause.id
        assert clause.requirement.endswith("."), clause.id
