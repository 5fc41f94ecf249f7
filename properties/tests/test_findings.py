"""One bug is one finding: failures with one cause are told together, and nothing is lost."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cache

import pytest
import torch
from torch import Tensor

from properties.cases.case import Case
from properties.cases.strategies import pinned_cases
from properties.findings.grouping import Group, groups, origin
from properties.recognition.targets import find, find_one
from properties.runs import failures
from properties.runs.choosing import asked
from properties.runs.result import Finding, Report
from properties.runs.runner import Run, run
from properties.spec.clause import Clause, Level, clauses
from properties.spec.profiles import PROFILES
from properties.tests.test_diagnosis import NAMES
from properties.zoo.faults import faults
from properties.zoo.faults.plain import PlainMultiHead
from properties.zoo.matrix import causes

LEAK, SCALE = (
    "causality/future-does-not-change-past",
    "weights/log-odds-are-scaled-score-differences",
)
NAME = "scale absent; look for the divisor of the scores"


@dataclass
class Failed:
    clause: Clause
    case: Case | None = None
    behaves_like: list[str] = field(default_factory=list)
    raised: str = ""


def failed(id: str, *names: str, raised: str = "") -> Failed:
    """A clause that failed on some case."""
    return Failed(clauses()[id], some_case(), list(names), raised)


@cache
def some_case() -> Case:
    """Any case."""
    return pinned_cases(find_one(PlainMultiHead, "multihead"))[0]


def nothing(name: str, clause: str, case: Case) -> None:
    """A stand-in that never says anything."""


def test_failures_that_one_name_explains_are_one_finding() -> None:
    """Also those that were given no name themselves."""
    found = groups([failed(LEAK, NAME), failed(SCALE)], lambda *question: True)
    assert found == [Group("fault", [LEAK, SCALE], [], [NAME])]
    assert (found[0].name, found[0].look) == ("scale absent", "the divisor of the scores")


def test_what_the_name_does_not_explain_is_a_finding_of_its_own() -> None:
    """The stand-in holds the law that the subject breaks."""
    found = groups([failed(LEAK), failed(SCALE, NAME)], lambda name, clause, case: clause == SCALE)
    assert [group.clauses for group in found] == [[SCALE], [LEAK]]
    assert [group.names for group in found] == [[NAME], []]


def test_what_nobody_can_tell_is_likely_the_same() -> None:
    """Unknown is neither yes nor no; the failure with the name itself is explained."""
    found = groups([failed(LEAK), failed(SCALE, NAME)], nothing)
    assert found == [Group("fault", [SCALE], [LEAK], [NAME])]


def test_a_law_about_chance_is_not_cleared_by_one_draw() -> None:
    """A stand-in that drops as the subject does draws anew."""
    laws = ("dropout/survival-rate", "dropout/no-weight-is-exempt")
    found = groups(
        [failed(law, NAME) for law in laws], lambda name, clause, case: clause == laws[0]
    )
    assert found == [Group("fault", [laws[0]], [laws[1]], [NAME])]


def test_failures_that_the_same_line_raised_are_one_finding() -> None:
    """And those of another line another one."""
    first, second = (f"RuntimeError at file.py:{line}" for line in (3, 9))
    ids = ("shape/output-shape", LEAK, SCALE)
    lines = (first, second, first)
    found = groups([failed(id, raised=r) for id, r in zip(ids, lines, strict=True)], nothing)
    assert [group.clauses for group in found] == [[ids[0], ids[2]], [ids[1]]]


def test_a_line_that_neither_vmap_nor_export_can_follow_is_one_finding() -> None:
    """Each of them raises an error of its own kind there."""
    fault = faults()["branch-on-a-value"]
    (subject,) = find(fault.module, fault.family)
    report = run(subject, profile="quick", only=fault.breaks)
    assert [set(finding.clauses) for finding in report.findings] == [set(fault.breaks)]


def test_a_failure_is_a_finding_even_where_its_cause_cannot_be_looked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*failure: object) -> bool:
        raise ValueError("two widths")

    monkeypatch.setattr(failures, "explains", broken)
    fault = faults()["mask-result-discarded"]
    report = run(find_one(fault.module), profile="quick", only=[LEAK])
    assert [finding.clauses for finding in report.findings] == [[LEAK]]
    assert any("two widths" in note for note in report.notes)


def test_failures_without_a_name_are_told_under_the_most_telling_one() -> None:
    """The order of dependence says which one that is."""
    assert groups([failed(LEAK), failed(SCALE)], nothing) == [Group("fault", [LEAK], [SCALE])]


def test_advice_is_no_fault_and_bad_input_is_its_own_half() -> None:
    """What MAY hold is not told."""
    ids = ("error/wrong-rank", "error/context-of-one-token", "shape/empty-batch")
    found = groups([*map(failed, ids), failed("causality/nan-future-stays-out")], nothing)
    assert [(group.kind, group.clauses) for group in found] == [
        ("advice", [ids[2]]),
        ("unguarded", [ids[0]]),
        ("edge", [ids[1]]),
    ]


def test_edges_of_one_name_are_one_finding() -> None:
    """Others stand by themselves."""
    same = ["mask/lowest-scores-leave-keys-hidden", "mask/lowest-scores-leave-padding-hidden"]
    other = "error/context-of-one-token"
    found = groups([failed(same[0], NAME), failed(other), failed(same[1], NAME)], nothing)
    assert [(group.kind, group.clauses) for group in found] == [
        ("edge", same),
        ("edge", [other]),
    ]


def test_the_origin_of_an_error_is_the_subjects_own_line() -> None:
    """The first cause counts; a law that does not hold has raised nothing."""
    with pytest.raises(ValueError, match="twice wrong") as caught:
        raises_for_a_reason()
    assert origin(caught.value).split(":")[0].endswith("test_findings.py")
    assert origin(ValueError("alone")) == ""


def raises_for_a_reason() -> None:
    """An error with a cause."""
    try:
        raise KeyError("x")
    except KeyError as error:
        raise ValueError("twice wrong") from error


class Twice(PlainMultiHead):
    """Sees two tokens of the future."""

    def hidden(self, tokens: int) -> Tensor:
        return torch.ones(tokens, tokens, dtype=torch.bool).triu(diagonal=3)


FEW = 6
"""Examples drawn besides the pinned ones. A bug is not told twice by what holds in more of them."""


@cache
def told(name: str) -> Report:
    """What the clauses of the quick profile say of a fault of the zoo. Nobody changes it."""
    subject = find_one(faults()[name].module, faults()[name].family)
    limits = replace(PROFILES["quick"], drawn=FEW)
    return Run(subject, asked("quick", None), limits, seed=0).report()


@pytest.mark.parametrize(
    "target",
    ["docs/leaky.py:LeakyAttention", Twice, faults()["dropout-in-eval"].module],
    ids=["leaky", "triu", "dropout"],
)
def test_one_bug_is_one_finding(target: object) -> None:
    """A discarded mask, a mask off by some, and dropout that is alive in eval, by every clause of ci."""
    subject, limits = find_one(target, "multihead"), replace(PROFILES["ci"], drawn=FEW)
    assert len(decisive(Run(subject, asked("ci", None), limits, seed=0).report())) == 1


def one_of_each_kind() -> list[str]:
    """Of every fourth file of the zoo its first fault, two that are edges alone, and all that are said to
    be told apart.
    """
    firsts = {f.module.__module__: name for name, f in reversed(faults().items())}
    edges = ("encoder-small-fill", "mask-adds-minus-ten-thousand")
    apart = [name for name, fault in faults().items() if fault.apart]
    return list(dict.fromkeys([*sorted(firsts.values())[::4], *edges, *apart]))


@pytest.mark.parametrize("name", one_of_each_kind())
def test_a_fault_of_the_zoo_is_one_finding_unless_it_says_why_not(name: str) -> None:
    """`attention-properties faults --full` counts all of them."""
    fault = faults()[name]
    found = causes(told(name), fault)
    assert (len(found) > 1) is bool(fault.apart), found


def test_a_name_stands_beside_the_clauses_that_it_explains_and_no_others() -> None:
    """A wrong scale is no reason for a parameter too many."""
    report = told("scale-absent")
    named = {r.clause for r in report.results if r.behaves_like}
    assert named == {id for finding in report.findings for id in finding.clauses if finding.name}


def test_every_failure_is_in_one_finding_and_survives_the_document() -> None:
    """As plain data and back; what MAY hold is not told."""
    report = told("scale-absent")
    failing = [r.clause for r in report.results if r.status == "fail" and r.level != Level.MAY]
    assert sorted(id for f in report.findings for id in (*f.clauses, *f.likely)) == sorted(failing)
    assert Report.from_dict(report.to_dict()).findings == report.findings
    assert report.findings[0].counterexample


def decisive(report: Report) -> list[Finding]:
    """What decides against the subject."""
    return [finding for finding in report.findings if finding.kind in ("fault", "domain")]


SMALL = {
    "key-weights-are-a-plain-tensor": "shape/parameter-shapes-and-count",
    "weights-detached": "gradient/gradcheck",
    "input-read-as-contiguous": "shape/strides-do-not-matter",
    "columns-are-cut": "error/wrong-d_in",
}
"""A law that a fault breaks, the example of which is made so small that it cannot show what is wrong."""


@pytest.mark.parametrize("name", SMALL)
def test_a_small_example_does_not_lose_a_name(name: str) -> None:
    """One token has no keys to choose from, and one column lies in memory in one way. What is taken for
    right is told by name as well.
    """
    fault = faults()[name]
    run = Run(find(fault.module, fault.family)[0], [clauses()[SMALL[name]]], PROFILES["quick"], 0)
    assert [finding.name for finding in run.report().findings] == NAMES[name]
