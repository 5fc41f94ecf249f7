"""What is told in a line: it does not make a subject wrong, or has no verdict."""

from __future__ import annotations

from typing import NamedTuple

from properties.reports.found import MAIN, findings
from properties.reports.verdict import word
from properties.runs.result import Finding, Report, Status

LABELS = {"unguarded": "unguarded", "edge": "edge", "advice": "not met"}
"""Kinds of findings with their labels, in the order in which they are told."""


class Lesser(NamedTuple):
    """What takes a line: bad input that is not refused, an edge, advice, what has no verdict."""

    label: str
    clause: str
    level: str
    message: str

    @property
    def text(self) -> str:
        """The clause and what is said of it."""
        binding = "" if self.level == "MUST" else f" ({self.level})"
        return f"{self.clause}{binding}: {self.message}"


def lesser(report: Report) -> list[Lesser]:
    """All that is told besides the findings with which the first half fails, in this order."""
    others = [finding for finding in findings(report) if finding.kind not in MAIN]
    others.sort(key=lambda finding: (list(LABELS).index(finding.kind), -len(finding.level)))
    said = [
        Lesser(
            LABELS[f.kind], f.clauses[0], f.level, named(f) + first_line(f.message) + with_others(f)
        )
        for f in others
    ]
    for result in report.results:
        if result.status in (Status.WAIVED, Status.VACUOUS):
            said.append(
                Lesser(word(result), result.clause, result.level, first_line(result.message))
            )
    return said


def named(finding: Finding) -> str:
    """What a finding is called, where its message does not say so."""
    told = finding.name and finding.name not in finding.message
    return f"{finding.name}: " if told else ""


def with_others(finding: Finding) -> str:
    """The other clauses of a finding."""
    also = f"; also {', '.join(finding.clauses[1:])}" if finding.clauses[1:] else ""
    likely = f"; likely the same: {', '.join(finding.likely)}" if finding.likely else ""
    return also + likely


def first_line(message: str) -> str:
    """A message in short."""
    return message.partition("\n")[0]
