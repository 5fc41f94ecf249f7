"""One clause's verdict as plain text, for readers that are no terminal."""

from __future__ import annotations

from properties.report import terminal
from properties.result import Report, Result

WIDTH = 100


def explained(result: Result, report: Report) -> str:
    """The same lines as on a terminal, without colours."""
    lines = terminal.failure_lines(result, report, WIDTH)
    return "\n".join(line.plain for line in lines)


def first_line(result: Result) -> str:
    """The message in short."""
    return result.message.partition("\n")[0]
