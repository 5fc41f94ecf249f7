"""What a report tells: its findings, by kind, and the clauses that have no verdict."""

from __future__ import annotations

from collections.abc import Iterator

from properties.runs.result import Finding, Report, Result, Status

MAIN = ("domain", "fault")
"""Kinds of findings with which the first half of a verdict fails; the others take a line each."""


def findings(report: Report) -> list[Finding]:
    """Those of the run; of results that come without, each failure is one."""
    failed = (r for r in report.results if r.status is Status.FAIL and r.level != "MAY")
    return report.findings or [single(result) for result in failed]


def single(result: Result) -> Finding:
    """A failure as a finding of its own."""
    return Finding(
        kind(result),
        result.level,
        [result.clause],
        message=result.message,
        counterexample=result.counterexample,
    )


def kind(result: Result) -> str:
    """The kind of a finding that a failure makes."""
    if result.level != "MUST":
        return "advice"
    return {"guarded": "unguarded", "edge": "edge"}.get(result.half, "fault")


def main(report: Report) -> list[Finding]:
    """The findings with which the first half of the verdict fails."""
    return [finding for finding in findings(report) if finding.kind in MAIN]


def lead(finding: Finding, report: Report) -> Result:
    """The result of the clause that tells a finding best."""
    return next(result for result in report.results if result.clause == finding.clauses[0])


def holding(result: Result, report: Report) -> Finding:
    """The finding that a failure is a part of."""
    for finding in findings(report):
        if result.clause in (*finding.clauses, *finding.likely):
            return finding
    return single(result)


def called(finding: Finding) -> str:
    """A finding in a few words: its name, or the clause that tells it."""
    return finding.name or finding.clauses[0]


def errors(report: Report) -> Iterator[Result]:
    """Clauses of any level that have no verdict."""
    return (result for result in report.results if result.status is Status.ERROR)


def listed(names: list[str], most: int | None) -> str:
    """The names, or the first of them and how many more there are."""
    more = len(names) - (most or len(names))
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")
