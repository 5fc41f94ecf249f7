"""Reports as one HTML page: nothing to load, no script, light and dark, for desk, phone and paper."""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from properties.report import tables, telling, terminal, verdict
from properties.report.found import errors, lead, main, single
from properties.report.heatmap import Heatmap, pair
from properties.report.lines import case_lines
from properties.result import Report, Result, Status
from properties.spec import Clause, area_rank, clauses

MARKS = {
    Status.PASS: "✓",
    Status.FAIL: "✗",
    Status.ERROR: "!",
    Status.VACUOUS: "○",
    Status.UNSUPPORTED: "?",
    Status.WAIVED: "~",
    Status.BLOCKED: "-",
}
"""Beside the word, so that no status is told by colour alone."""

WORDS = {
    Status.PASS: "hold",
    Status.FAIL: "fail",
    Status.ERROR: "error",
    Status.VACUOUS: "vacuous",
    Status.UNSUPPORTED: "not asked",
    Status.WAIVED: "waived",
    Status.BLOCKED: "blocked",
}
NOTEBOOK_HEIGHT = 560


def write(reports: Sequence[Report], path: Path) -> None:
    """The page as a file."""
    path.write_text(as_html(reports), encoding="utf-8", errors="replace")


def as_html(reports: Sequence[Report]) -> str:
    """The page as text."""
    views = [View(report, f"r{number}") for number, report in enumerate(reports)]
    return template().render(views=views)


def in_a_frame(report: Report) -> str:
    """The page for a notebook's cell: in a frame, so that neither changes the other's looks."""
    page = html.escape(as_html([report]))
    return (
        f'<iframe title="attention-properties" sandbox="" srcdoc="{page}" '
        f'style="width: 100%; height: {NOTEBOOK_HEIGHT}px; border: 0; resize: vertical"></iframe>'
    )


@cache
def template() -> Any:
    """The page; whatever is put into it is escaped."""
    loader = PackageLoader("properties.report", ".")
    environment = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.jinja")


@dataclass(frozen=True)
class Row:
    """One clause's line, with what the specification says of it."""

    result: Result
    clause: Clause

    @property
    def told(self) -> str:
        """The class of its status; what is only advised does not look like a failure."""
        status = self.result.status
        advisory = status is Status.FAIL and self.result.level != "MUST"
        return "advisory" if advisory else str(status)

    @property
    def mark(self) -> str:
        """A sign for its status."""
        return MARKS[self.result.status]

    @property
    def margin(self) -> str:
        """The share of the error budget used, in words."""
        return tables.margin(self.result.margin)

    @property
    def share(self) -> float:
        """The same as a length, in percent."""
        return round(100.0 * min(1.0, self.result.margin or 0.0), 1)

    @property
    def reason(self) -> list[tuple[bool, str]]:
        """The paragraphs of the reason, with whether each is a formula."""
        paragraphs = re.split(r"\n\s*\n", self.clause.reason)
        return [(p.startswith("    "), p) for p in paragraphs if p.strip()]


@dataclass(frozen=True)
class Failure:
    """A root failure or an error, told in full."""

    row: Row
    said: list[tuple[str, str]]
    case: list[str]
    heatmaps: list[Heatmap]
    again: str
    explain: str


@dataclass(frozen=True)
class View:
    """A report as the page shows it; `id` keeps the anchors of several reports apart."""

    report: Report
    id: str

    @property
    def verdict(self) -> tuple[str, str]:
        """The verdict in two or three words, and the rest of its sentence."""
        words, _, rest = verdict.verdict(self.report)[0].partition(": ")
        return words, rest

    @property
    def tone(self) -> str:
        """The class of the verdict."""
        if not self.report.conforms:
            return "fail"
        return "vacuous" if self.report.in_part else "pass"

    @property
    def mark(self) -> str:
        """A sign for the verdict."""
        return {"fail": "✗", "vacuous": "◐", "pass": "✓"}[self.tone]

    @property
    def counts(self) -> list[tuple[str, list[tuple[str, str, int]]]]:
        """How many clauses, of MUST and of less, have each status: its class, its word, the number."""
        found = []
        for words, levels in (("MUST", ("MUST",)), ("SHOULD and MAY", ("SHOULD", "MAY"))):
            rows = [Row(r, clauses()[r.clause]) for r in self.report.results if r.level in levels]
            number = Counter((row.told, row.result.status) for row in rows)
            kinds = sorted(number, key=lambda kind: list(MARKS).index(kind[1]))
            found.append((words, [(told, WORDS[s], number[told, s]) for told, s in kinds]))
        return [(words, kinds) for words, kinds in found if kinds]

    @property
    def not_asked(self) -> list[str]:
        """What could not be asked, a line for each reason."""
        return terminal.unsupported_lines(self.report)

    @property
    def failures(self) -> Iterator[Failure]:
        """The roots."""
        told = [(finding, lead(finding, self.report)) for finding in main(self.report)]
        told += [(single(result), result) for result in errors(self.report)]
        for finding, result in told:
            case = finding.counterexample
            yield Failure(
                row=Row(result, clauses()[result.clause]),
                said=telling.told(finding),
                case=case_lines(case, whole=True) if case else [],
                heatmaps=pair(result.evidence) if result.evidence else [],
                again=telling.repeat(result, self.report),
                explain=telling.explain(result),
            )

    @property
    def areas(self) -> Iterator[tuple[str, list[Row]]]:
        """Every clause by area, in the order in which a reader meets them."""
        rows = (Row(result, clauses()[result.clause]) for result in self.report.results)
        ordered = sorted(rows, key=lambda row: area_rank(row.clause.id))
        for area, members in groupby(ordered, key=lambda row: row.clause.area):
            yield area, list(members)

    @property
    def command(self) -> str:
        """The command that runs all of it again."""
        return telling.command(self.report)

    @property
    def chance(self) -> str:
        """How often a right implementation is accused by chance."""
        return terminal.chance(self.report)
