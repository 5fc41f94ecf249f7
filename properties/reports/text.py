"""One clause's verdict as plain text, for readers that are no terminal."""

from __future__ import annotations

from properties.reports.found import holding, single
from properties.reports.lines import hanging, in_parts
from properties.reports.telling import finding_lines
from properties.reports.verdict import word
from properties.runs.result import Report, Result, Status
from properties.spec.clause import clauses

WIDTH = 100


def explained(result: Result, report: Report, parts: str = "numbers, picture") -> str:
    """The same lines as on a terminal, without colours."""
    lines = [f"{word(result).upper()} {result.clause}  {result.level}"]
    if result.status is Status.FAIL:
        lines += belongs_to(result, report)
        lines += finding_lines(single(result), result, report, WIDTH, parts)
    else:
        lines += hanging(in_parts(clauses()[result.clause].requirement, result.message), WIDTH)
    return "\n".join(lines)


def belongs_to(result: Result, report: Report) -> list[str]:
    """The finding that a failure is a part of: its name where that explains the failure."""
    whole = holding(result, report)
    if result.clause in whole.likely:
        return [f"likely the same as {whole.clauses[0]}"]
    told = [f"{whole.name}; look for {whole.look}"] if whole.name and whole.look else []
    return told + [f"one finding with {whole.clauses[0]}"] * (whole.clauses[0] != result.clause)


def first_line(result: Result) -> str:
    """The message in short, after what became of the clause."""
    message = result.message.partition("\n")[0]
    return f"{word(result)} ({result.level}): {message}"
