"""The smallest cases of failures, asked of every other line of the survey that can be called so."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from properties.basics.errors import QuestionError
from properties.reports.document import SCHEMA
from properties.reports.found import called, lead, main
from properties.runs.isolation import Isolated, Progress
from properties.runs.result import Report
from properties.subjects.declaring import parse
from properties.survey.asking import environment
from properties.survey.comparison import Compared
from properties.survey.lines import Line


@dataclass(frozen=True)
class Failing:
    """Who fails, how it is found again, and its report."""

    name: str
    report: Report
    target: str
    family: str | None = None
    given: tuple[str, ...] = ()
    conventions: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def line(cls, line: Line, report: Report) -> Failing:
        """A line of the survey."""
        return cls(
            line.name, report, line.target, line.family, line.given, environment=line.environment
        )

    @classmethod
    def reported(cls, report: Report) -> Failing:
        """The subject of a report, with the options that its run needed."""
        words = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
        words.add_argument("--family")
        words.add_argument("--with", dest="given", action="append", default=[])
        words.add_argument("--convention", action="append", default=[])
        options, _ = words.parse_known_args(report.options)
        given, declared = tuple(options.given), parse(options.convention)
        return cls(report.subject, report, report.subject, options.family, given, declared)

    def is_of(self, line: Line) -> bool:
        """Whether the line is who fails, by its name or, in a report, as it was asked."""
        asked = line.target, line.family, line.given
        alike = asked == (self.target, self.family, self.given) and not line.environment
        return alike or self.name == line.name

    def isolated(self, timeout: float, progress: Progress) -> Isolated:
        """Its target, in a process of its own."""
        return Isolated(
            self.target,
            self.family,
            timeout,
            progress=progress,
            conventions=dict(self.conventions),
            given=list(self.given),
        )


def read(path: Path) -> list[Failing]:
    """Those of a file that `check --json` wrote; QuestionError where it is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["schema"] != SCHEMA:
            raise ValueError(f"the schema is {content['schema']}")
        return [Failing.reported(Report.from_dict(data)) for data in content["reports"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise QuestionError(
            f"{path} cannot be read: {type(error).__name__}: {error}.\n"
            f"Expected: a report of the schema {SCHEMA}.\n"
            f"What to do: write it by attention-properties check TARGET --json {path}"
        ) from error


def heard(failing: Failing, timeout: float, progress: Progress) -> Iterator[Compared]:
    """The call that shows each finding, with the answer of who fails; without a call where none of
    those that the law asks is off by itself.
    """
    with environment(failing.environment), failing.isolated(timeout, progress) as isolated:
        for finding in main(failing.report):
            result, words = lead(finding, failing.report), called(finding)
            if result.counterexample is None:
                continue
            told = {"clause": result.clause, "counterexample": result.counterexample}
            try:
                (name,) = only(isolated)
                (event,) = isolated.answers("hear", name, "no call was heard", **told)
            except QuestionError as error:
                yield Compared(failing.name, words, {}, str(error).splitlines()[0])
                continue
            found = Compared(failing.name, words, event["call"])
            if found.call:
                found.add(failing.name, found.call["answer"])
            yield found


def replay(line: Line, every: Iterable[Compared], timeout: float, progress: Progress) -> None:
    """Ask a line all of these calls."""
    isolated = Isolated(
        line.target, line.family, timeout, progress=progress, given=list(line.given)
    )
    with environment(line.environment), isolated:
        for each in every:
            each.add(line.name, answer(isolated, each.call))


def answer(isolated: Isolated, call: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the only subject of a target gives, or why it gives nothing."""
    try:
        (name,) = only(isolated)
        (told,) = isolated.answers("replay", name, "no answer", call=call)
    except QuestionError as error:
        return {"reason": str(error).splitlines()[0]}
    found: Mapping[str, Any] = told["answer"]
    return found


def only(isolated: Isolated) -> list[str]:
    """The name of the subject; QuestionError unless there is one, and one alone."""
    if not isolated.clauses:
        isolated.survey()
    names = list(isolated.clauses)
    if len(names) != 1:
        raise QuestionError("; ".join(isolated.refused.values()) or f"{len(names)} subjects")
    return names


def compared(
    failing: Sequence[Failing],
    lines: Iterable[Line],
    timeout: float,
    listen: Callable[[str], Progress],
) -> list[Compared]:
    """Every failure's call, with the answers of all lines; listen: gives the listener for a name."""
    found = {one.name: list(heard(one, timeout, listen(one.name))) for one in failing}
    for line in lines:
        others = [each for one in failing if not one.is_of(line) for each in found[one.name]]
        if shown := [each for each in others if each.call]:
            replay(line, shown, timeout, listen(line.name))
    return [each for one in failing for each in found[one.name]]
