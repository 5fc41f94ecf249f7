"""Right code that does not look at its input is right; what it does not refuse is told beside that."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from properties import check
from properties.recognition.targets import find_one, survey
from properties.reports import terminal
from properties.runs.result import Report, Result, Status
from properties.runs.runner import Run, run
from properties.spec.clause import Half, Level, clauses, select
from properties.spec.profiles import PROFILES

RETYPINGS = f"{Path(__file__).parent}/data/retypings.py"
NAMES = [subject.name.rpartition(":")[2] for subject in survey(RETYPINGS).subjects]
SPLIT = f"{RETYPINGS}:SplitAttention"
UNREDUCED = replace(PROFILES["quick"], reduction=0)


@pytest.mark.parametrize("name", NAMES)
def test_right_code_without_input_checks_is_right_on_every_input_that_it_takes(name: str) -> None:
    """None of some forty retypings compares a shape; asked about bad input all stay right."""
    report = Run(find_one(f"{RETYPINGS}:{name}"), select(["error"]), UNREDUCED, 0).report()
    assert report.right, report.failed
    assert report.exit_code == 0
    assert {finding.kind for finding in report.findings} <= {"unguarded", "edge", "advice"}


def test_what_is_not_refused_is_told_in_the_first_line_and_decides_under_strict() -> None:
    """The code is 0, and 1 under --strict."""
    found = run(find_one(SPLIT), profile="quick", only=["error"])
    assert terminal.verdict(found)[0].startswith("right: ")
    assert "unguarded: 1 (wrong rank)" in terminal.verdict(found)[0]
    assert (found.exit_code, replace(found, strict=True).exit_code) == (0, 1)


def test_a_clause_of_the_second_half_says_in_few_words_what_is_wrong() -> None:
    """For the first line; a clause of the first half has a message of its own."""
    for clause in clauses().values():
        told = clause.half is not Half.RIGHT and clause.level is Level.MUST
        assert bool(clause.brief) is told, clause.id


@pytest.mark.parametrize(
    ("half", "code", "strict"), [("right", 1, 1), ("guarded", 0, 1), ("edge", 0, 1)]
)
def test_each_half_decides_for_itself(half: str, code: int, strict: int) -> None:
    """A failure on valid input always decides, any other one under strict alone."""
    results = [
        Result("shape/output-shape", "MUST", Status.PASS),
        Result("error/wrong-rank", "MUST", Status.FAIL, half=half),
    ]
    report = Report("target", "causal", "quick", 0, results)
    assert (report.exit_code, replace(report, strict=True).exit_code) == (code, strict)
    assert (report.right, report.guarded) == (half != "right", half != "guarded")
    assert report.conforms is report.right


def test_a_module_that_leaks_beyond_its_context_is_not_right() -> None:
    """More tokens than context_length have a right answer, so they belong to the first half."""
    report = check(
        "properties.zoo.faults.errors:MaskStartsOver", "multihead", "quick", only=["error"]
    )
    assert report.failed == ["error/too-many-tokens"]
    assert "not right" in terminal.verdict(report)[0]
