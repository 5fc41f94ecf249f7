"""What came of one line of the survey, as plain data."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from properties.reports.found import called, main
from properties.runs.result import Report, Status
from properties.spec.clause import clauses
from properties.survey.lines import Line, installed

SCALED = "weights/log-odds-are-scaled-score-differences"
UNSCALED = "scores are not scaled"  # as a note on a module begins


@dataclass(frozen=True)
class Row:
    """One line's verdict.

    verdict: right, right in part, not right, no verdict or refused; holding, laws: how many laws about
    valid input hold, of how many; not_asked: the arguments that kept their defaults; unasked: how many
    laws could not be asked; findings: what is wrong, in words; unguarded, edges: briefly, too;
    margin: the largest share of an error budget that was used by what holds, and law: by which;
    conventions: the answer to each; takes: what a call may be told; reason: why there is no verdict.
    """

    library: str
    version: str
    path: str
    target: str
    options: tuple[str, ...] = ()
    verdict: str = "refused"
    family: str = ""
    holding: int = 0
    laws: int = 0
    unasked: int = 0
    not_asked: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()
    unguarded: tuple[str, ...] = ()
    edges: tuple[str, ...] = ()
    margin: float | None = None
    law: str = ""
    dtypes: tuple[str, ...] = ()
    conventions: Mapping[str, str] = field(default_factory=dict)
    takes: Mapping[str, str] = field(default_factory=dict)
    reason: str = ""

    @property
    def name(self) -> str:
        """The library and the path."""
        return f"{self.library}: {self.path}"

    def data(self) -> dict[str, Any]:
        """Plain data, that `Row(**data)` reads."""
        return {name: value for name, value in asdict(self).items() if value not in ("", None)}


def row(line: Line, report: Report) -> Row:
    """The row of a line that was asked."""
    asked = [r for r in report.results if r.level == "MUST" and r.half == "right"]
    counts = Counter(r.status for r in asked)
    margins = [(r.margin, r.clause) for r in asked if r.margin is not None and passed(r.status)]
    margin, law = max(margins, default=(None, ""))
    return Row(
        **of(line),
        verdict=verdict(report),
        family=report.family,
        holding=counts[Status.PASS],
        laws=counts.total(),
        unasked=counts[Status.UNSUPPORTED],
        not_asked=tuple(report.unasked),
        findings=tuple(called(finding) for finding in main(report)),
        unguarded=tuple(clauses()[r.clause].brief for r in report.unguarded),
        edges=tuple(clauses()[r.clause].brief for r in report.edges),
        margin=None if margin is None else float(f"{margin:.2g}"),
        law=law,
        dtypes=tuple(report.dtypes),
        conventions=choices(report),
        takes=dict(report.takes),
    )


def refused(line: Line, reason: str) -> Row:
    """The row of a line that could not be asked."""
    return Row(**of(line), reason=reason.splitlines()[0] if reason else "")


def of(line: Line) -> dict[str, Any]:
    """What is known of a line before it is asked."""
    options = [f"--with {shlex.quote(text)}" for text in line.given]
    options += [f"--family {line.family}"] * bool(line.family)
    return {
        "library": line.library,
        "version": installed(line.library),
        "path": line.path,
        "target": line.target,
        "options": (*(f"{n}={v}" for n, v in line.environment.items()), *options),
    }


def passed(status: Status) -> bool:
    """Whether a clause holds."""
    return status is Status.PASS


def verdict(report: Report) -> str:
    """The verdict in two words."""
    if not report.right:
        return "not right" if report.wrong else "no verdict"
    return "right in part" if report.in_part else "right"


def choices(report: Report) -> dict[str, str]:
    """The answer to each convention; of dropout and of the default scale, too."""
    found = {name: told["answer"] for name, told in report.conventions.items()}
    held = {r.clause for r in report.results if passed(r.status)}
    if any(note.startswith(UNSCALED) for note in report.notes):
        found["scale"] = "1"
    elif SCALED in held:
        found["scale"] = "1/sqrt(D)"
    if argument := report.matched.get("dropout"):
        found["dropout"] = argument
    return found
