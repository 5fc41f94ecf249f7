"""Verdicts as pytest tests: one for each clause, from one run of the subject.

Both doors come here: `pytest --attention TARGET`, and `properties.parametrize` in a test file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from io import StringIO
from os import PathLike
from pathlib import Path
from typing import Any

import pytest
from hypothesis.database import ExampleDatabase
from rich.console import Console

from properties.basics.errors import QuestionError
from properties.cases.case import Case
from properties.reports.text import WIDTH, explained, first_line
from properties.runs.choosing import asked, require_concern
from properties.runs.isolation import Isolated, asked_with
from properties.runs.memory import Memory, opened
from properties.runs.recall import remembrances
from properties.runs.result import Report, Result, Status
from properties.runs.runner import run
from properties.spec.clause import Clause
from properties.subjects.subject import Subject

Ask = Callable[[list[str], int], Report]  # of these clauses, with this seed


@dataclass(eq=False)
class Asked:
    """The run of one subject; `wanted` are the clauses whose tests were selected.

    alone: each clause is asked when its test starts. A process of pytest-xdist is not told which
    tests it will be handed, and so does its own share and no more. What is found of a clause does
    not depend on which others are asked.
    """

    ask: Ask
    seed: int = 0
    alone: bool = False
    wanted: list[str] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)
    refusal: QuestionError | None = None

    def find(self, clause: str) -> tuple[Result, Report]:
        """The clause's result, and the report that holds it."""
        for report in self.reports:
            for result in report.results:
                if result.clause == clause:
                    return result, report
        together = clause in self.wanted and not self.alone
        if together and self.refusal is not None:
            raise self.refusal
        try:
            self.reports.append(self.ask(self.wanted if together else [clause], self.seed))
        except QuestionError as error:
            self.refusal = error
            raise
        return self.find(clause)

    @property
    def told(self) -> list[str]:
        """What is to be said of remembered failures."""
        return [
            f"{report.subject}: {line}" for report in self.reports for line in remembrances(report)
        ]


def in_process(
    subject: Subject,
    profile: str,
    waivers: str | PathLike[str] | None,
    strict: bool,
    memory: Memory,
) -> Ask:
    """Ask an object of this process; the examples are drawn once."""
    examples: list[Case] = []

    def ask(only: list[str], seed: int) -> Report:
        again = partial(
            run,
            subject,
            profile=profile,
            seed=seed,
            only=only,
            waivers=waivers,
            examples=examples,
            strict=strict,
        )
        return memory.ask(subject.name, lambda entries: again(remembered=entries))

    return ask


def behind_a_wall(
    target: Isolated, name: str, profile: str, waivers: str | None, strict: bool, memory: Memory
) -> Ask:
    """Ask a subject in the process that its target has of its own."""
    options = {"profile": profile, "waivers": waivers, "strict": strict}

    def ask(only: list[str], seed: int) -> Report:
        asked = {"only": only, "seed": seed, **options}
        return memory.ask(name, partial(asked_with, target, name, asked))

    return ask


@dataclass(frozen=True, eq=False)
class Check:
    """One test: the clause holds for the subject."""

    asked: Asked
    clause: Clause

    def __call__(self) -> None:
        """Fail, skip or return, as the clause's result is."""
        __tracebackhide__ = True
        try:
            result, report = self.asked.find(self.clause.id)
        except QuestionError as error:
            pytest.fail(str(error), pytrace=False)
        conclude(result, report, self.asked.wanted)


@dataclass(frozen=True, eq=False)
class Diff:
    """One test: nothing but rounding changed since an old implementation."""

    old: Any
    new: Any
    options: dict[str, Any]

    def __call__(self) -> None:
        """Fail with what changed."""
        __tracebackhide__ = True
        from properties import diff
        from properties.reports import comparison

        try:
            found = diff(self.old, self.new, **self.options)
        except QuestionError as error:
            pytest.fail(str(error), pytrace=False)
        if not found.same:
            text = StringIO()
            comparison.show(found, Console(file=text, width=WIDTH, highlight=False))
            pytest.fail(text.getvalue(), pytrace=False)


def conclude(result: Result, report: Report, wanted: Iterable[str]) -> None:
    """The outcome of a test, with the report's own text.

    What is blocked is skipped where the test that tells the root is part of the session, and fails
    where it is not: a session in which nothing fails must not hold a broken clause.
    """
    __tracebackhide__ = True
    if result.status is Status.PASS:
        return
    short = first_line(result)
    told = not set(report.failed).isdisjoint(wanted)
    if result.status is Status.UNSUPPORTED or (result.status is Status.BLOCKED and told):
        pytest.skip(short)
    if result.half not in report.deciding and result.status is not Status.FAIL:
        pytest.skip(short)
    if not report.decides(result) and (
        result.level != "MUST" or result.status is not Status.BLOCKED
    ):
        pytest.xfail(short)
    pytest.fail(explained(result, report), pytrace=False)


def checks(run: Asked, clauses: Iterable[Clause], prefix: str = "") -> list[Any]:
    """A parameter for each clause, with area, level and half as marks."""
    return [
        pytest.param(Check(run, clause), id=prefix + clause.id, marks=marks(clause))
        for clause in clauses
    ]


def marks(clause: Clause) -> list[pytest.MarkDecorator]:
    """For -m: the clause's area, its level, and the half of the verdict it belongs to."""
    names = (clause.area, str(clause.level).lower(), str(clause.half))
    return [getattr(pytest.mark, f"attention_{name}") for name in names]


def parametrized(
    target: Any,
    family: str | None,
    profile: str,
    seed: int,
    only: Iterable[str] | None,
    waivers: str | PathLike[str] | None,
    old: Any,
    strict: bool,
    conventions: Mapping[str, str] | None = None,
    given: Mapping[str, Any] | None = None,
    database: ExampleDatabase | str | bool = True,
) -> pytest.MarkDecorator:
    """See `properties.parametrize`."""
    from properties.recognition.targets import find_one
    from properties.runs.waivers import read
    from properties.spec.profiles import profile_named

    only = None if only is None else list(only)
    try:
        profile_named(profile)
        subject = find_one(target, family, conventions, given)
        if waivers is not None:
            read(Path(waivers))
        require_concern(subject, only or [])
        concerned = (clause for clause in asked(profile, only) if clause.concerns(subject))
        ask = in_process(subject, profile, waivers, strict, opened(database))
        chosen = checks(Asked(ask, seed), concerned)
    except QuestionError as error:
        raise pytest.Collector.CollectError(str(error)) from error
    if old is not None:
        options = {
            "family": family,
            "profile": profile,
            "seed": seed,
            "only": only,
            "conventions": conventions,
            "given": given,
            "database": database,
        }
        chosen.append(pytest.param(Diff(old, target, options), id="diff"))
    return pytest.mark.parametrize("check", chosen)
