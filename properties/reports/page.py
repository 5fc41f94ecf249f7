"""Reports as one HTML page: nothing to load, light and dark, for desk, phone and paper.

Its one script puts a button for copying beside commands; a policy allows that script and no other.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from properties.basics import advice
from properties.reports import card, tables, telling, terminal, verdict
from properties.reports.characters import marked
from properties.reports.found import called, errors, lead, main, single
from properties.reports.heatmap import Heatmap, pair
from properties.reports.lesser import Lesser, lesser
from properties.reports.lines import case_lines
from properties.runs.result import Finding, Report, Result, Status
from properties.spec.areas import AREAS
from properties.spec.clause import Clause, clauses

MARKS = {
    "pass": "✓",
    "fail": "✗",
    "error": "!",
    "vacuous": "○",
    "not asked": "?",
    "waived": "~",
    "waits": "-",
}
"""Beside the word, so that no status is told by colour alone; what does not decide has another one."""

OTHER_MARK = "△"
NOTEBOOK_HEIGHT = 560
COPY = """
for (const place of document.querySelectorAll("[data-copy]")) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "copy";
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(place.querySelector("pre").textContent);
    button.textContent = "copied";
  });
  place.append(button);
}
"""


def write(reports: Sequence[Report], path: Path) -> None:
    """The page as a file, with today's date."""
    text = as_html(reports, f"{datetime.now().astimezone():%Y-%m-%d %H:%M %Z}")
    path.write_text(text, encoding="utf-8", errors="replace")


def as_html(reports: Sequence[Report], date: str = "") -> str:
    """The page as text."""
    views = [View(report, f"r{number}") for number, report in enumerate(reports)]
    known = base64.b64encode(hashlib.sha256(COPY.encode()).digest()).decode()
    return template().render(
        views=views, date=date, copy=COPY, known=known, area_names=area_names(views)
    )


def area_names(views: Sequence[View]) -> list[str]:
    """The areas of all views, in the order in which a reader meets them."""
    found = {result.clause for view in views for result in view.report.results}
    return [area for area in AREAS if any(id.startswith(f"{area}/") for id in found)]


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
    loader = PackageLoader("properties.reports", ".")
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
    def word(self) -> str:
        """What became of it."""
        return verdict.word(self.result)

    @property
    def told(self) -> str:
        """The class of its status; what does not decide does not look like a failure."""
        lesser = self.word in ("not met", "unguarded", "edge")
        return "advisory" if lesser else str(self.result.status)

    @property
    def mark(self) -> str:
        """A sign for its status."""
        return MARKS.get(self.word, OTHER_MARK)

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
class Told:
    """A finding or an error, told in full."""

    row: Row
    title: str
    said: list[tuple[str, str]]
    case: list[str]
    heatmaps: list[Heatmap]
    marked: str
    again: str
    explain: str


@dataclass(frozen=True)
class Folded:
    """An area with its clauses, open where one of them did not pass."""

    area: tables.Area
    rows: list[Row]

    @property
    def passed(self) -> bool:
        """Whether every clause passed, those that merely may hold as well."""
        return all(row.result.status is Status.PASS for row in self.rows)

    @property
    def margin(self) -> str:
        """The worst margin in words."""
        return tables.margin(self.area.worst)


@dataclass(frozen=True)
class View:
    """A report as the page shows it; `id` keeps the anchors of several reports apart."""

    report: Report
    id: str

    @property
    def name(self) -> str:
        """The subject without where it is, for a narrow column."""
        return self.report.subject.rpartition(":")[2]

    @property
    def verdict(self) -> tuple[str, str]:
        """The first half in two or three words, and the rest of its sentence."""
        words, _, rest = verdict.first_half(self.report)[0].partition(": ")
        return words, rest

    @property
    def second_half(self) -> list[str]:
        """What is said of bad input and of edges, a line each."""
        tried = self.report.with_status(Status.PASS, half="guarded")
        guarded = ["guarded: all bad input that was tried is refused"]
        found = verdict.rest(self.report)
        return [*(guarded if tried and not self.report.unguarded else []), *found]

    @property
    def tone(self) -> str:
        """The class of the verdict."""
        if self.report.wrong or self.report.failed:
            return "fail"
        return "pass" if self.report.right and not self.report.in_part else "vacuous"

    @property
    def mark(self) -> str:
        """A sign for the verdict."""
        return {"fail": "✗", "vacuous": "◐", "pass": "✓"}[self.tone]

    @property
    def source(self) -> str:
        """Where the subject is defined, where that is known."""
        source = self.report.source
        return f"{source['file']}, line {source['line']}" if "line" in source else ""

    @property
    def counts(self) -> list[tuple[str, str, int]]:
        """How many clauses have each status: its class, its word, the number."""
        rows = [Row(result, clauses()[result.clause]) for result in self.report.results]
        number = Counter((row.told, row.word) for row in rows)
        kinds = sorted(number, key=lambda kind: [*MARKS, kind[1]].index(kind[1]))
        return [(told, tables.COUNTED.get(word, word), number[told, word]) for told, word in kinds]

    @property
    def not_asked(self) -> list[str]:
        """What could not be asked, a line for each reason."""
        return terminal.unsupported_lines(self.report) if self.report.results else self.report.notes

    @property
    def ways_out(self) -> list[tuple[str, str]]:
        """What to do about it, in words and as code."""
        return terminal.ways_out(self.report)

    def why(self, lacking: str) -> str:
        """Why something is lacking."""
        return advice.reason(lacking)

    @property
    def findings(self) -> Iterator[Told]:
        """What is wrong, and what has no verdict."""
        for finding in main(self.report):
            yield self.told(finding, lead(finding, self.report), called(finding))
        for result in errors(self.report):
            yield self.told(single(result), result, "")

    def told(self, finding: Finding, result: Result, title: str) -> Told:
        """One of them in full."""
        case = finding.counterexample
        return Told(
            row=Row(result, clauses()[result.clause]),
            title="" if title == result.clause else title,
            said=telling.told(finding) + telling.probe_told(result),
            case=case_lines(case, result.clause, whole=True) if case else [],
            heatmaps=pair(result.evidence) if result.evidence else [],
            marked=marked(result.evidence) if result.evidence else "",
            again=telling.repeat(result, self.report),
            explain=telling.explain(result),
        )

    @property
    def lesser(self) -> list[Lesser]:
        """What does not make the subject wrong, a line each."""
        return lesser(self.report)

    @property
    def areas(self) -> list[Folded]:
        """Every clause by area, in the order in which a reader meets them."""
        return [
            Folded(area, [Row(result, clauses()[result.clause]) for result in area.results])
            for area in tables.areas(self.report)
        ]

    def area(self, name: str) -> str:
        """How many of an area's laws hold, and what became of the others."""
        for area in tables.areas(self.report):
            if area.name == name:
                others = f" ({area.others})" if area.others else ""
                return f"{area.hold}{others}"
        return ""

    @property
    def card(self) -> str:
        """The arguments by which it was asked, and its conventions, in a line or two."""
        return card.brief(self.report.takes, self.report.conventions)

    @property
    def told_by(self) -> dict[str, str]:
        """What each argument means."""
        return card.by_argument(self.report.takes)

    @property
    def conventions(self) -> list[str]:
        """Each convention in words, and how it is known."""
        found = self.report.conventions
        return [card.convention(name, each) for name, each in found.items()]

    @property
    def command(self) -> str:
        """The command that runs all of it again."""
        return telling.command(self.report)

    @property
    def chance(self) -> str:
        """How often a right implementation is accused by chance."""
        return terminal.chance(self.report)
