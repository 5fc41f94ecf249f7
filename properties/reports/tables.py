"""Clauses in lines: one for each area, or one for each clause."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from properties.reports.verdict import word
from properties.runs.result import Report, Result, Status
from properties.spec.clause import area_rank

GAP = 4  # between two columns of areas
AREAS_MEAN = "Laws that hold in each area; margin: the largest share of an error budget used"
CLAUSES_MEAN = (
    "Each clause: examples that met its condition, of those checked; margin: the largest share of the "
    "error budget used"
)


@dataclass(frozen=True)
class Area:
    """The results of one area."""

    name: str
    results: list[Result]

    @property
    def laws(self) -> list[Result]:
        """Those that must or should hold; what merely may is listed and not counted."""
        return [result for result in self.results if result.level != "MAY"]

    @property
    def hold(self) -> str:
        """How many of its laws hold: 7/8."""
        return f"{sum(r.status is Status.PASS for r in self.laws)}/{len(self.laws)}"

    @property
    def worst(self) -> float | None:
        """The largest margin, None where no law has a tolerance."""
        return max((r.margin for r in self.results if r.margin is not None), default=None)

    @property
    def others(self) -> str:
        """What became of those that do not hold: 1 fail, 2 wait."""
        number = Counter(word(r) for r in self.laws if r.status is not Status.PASS)
        return ", ".join(f"{count} {COUNTED.get(each, each)}" for each, count in number.items())


COUNTED = {"waits": "wait"}


def areas(report: Report) -> Iterator[Area]:
    """Every area that was asked about, in the order in which a reader meets them."""
    ordered = sorted(report.results, key=lambda result: area_rank(result.clause))
    for name, members in groupby(ordered, key=lambda result: result.clause.partition("/")[0]):
        yield Area(name, list(members))


def area_lines(report: Report, width: int) -> list[str]:
    """One entry for each area, in two columns where there is room."""
    found = list(areas(report))
    names = max((len(area.name) for area in found), default=0)
    entries = [
        f"{area.name:<{names}} {area.hold:>5} {margin(area.worst):>5} {area.others}".rstrip()
        for area in found
    ]
    half = -(-len(entries) // 2)
    left, right = entries[:half], entries[half:]
    room = max(map(len, left), default=0) + GAP
    if room + max(map(len, right), default=0) > width:
        return entries
    pairs = zip(left, [*right, ""], strict=False)
    return [f"{first:<{room}}{second}".rstrip() for first, second in pairs]


def clause_rows(report: Report) -> list[tuple[Result, str]]:
    """Every clause with its line: word, examples, margin, id; the id last, so that nothing is cut."""
    ordered = sorted(report.results, key=lambda result: area_rank(result.clause))
    rows = [(word(r), f"{r.counted}/{r.examples}", margin(r.margin)) for r in ordered]
    a, b, c = (max(map(len, column)) for column in zip(("", "", ""), *rows, strict=True))
    return [
        (r, f"{status:<{a}} {examples:>{b}} {used:>{c}} {r.clause}")
        for r, (status, examples, used) in zip(ordered, rows, strict=True)
    ]


def margin(share: float | None) -> str:
    """The share of an error budget in percent; nothing where the law has no tolerance."""
    if share is None:
        return "-"
    percent = 100.0 * share
    if 0.0 < percent < 0.1:
        return "<0.1%"
    return f"{percent:.0f}%" if percent >= 10.0 else f"{percent:.2g}%"
