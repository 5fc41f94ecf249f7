"""One clause's verdict as plain text, for readers that are no terminal."""

from __future__ import annotations

from properties.report.found import holding, single
from properties.report.lines import hanging, in_parts
from properties.report.telling import finding_lines
from properties.report.verdict import word
from properties.result import Report, Result, Status
from properties.spec import clauses

WIDTH = 100


def explained(result: Result, report: Report, parts: str = "numbers, picture") -> str:
    """The same lines as on a terminal, without colours."""
    lines = [f"{word(result).upper()} {result.clause}  {result.level}"]
    if result.status is Status.FAIL:
        whole = holding(result, report)
        if whole.name:
            lines.append(whole.name)
        if whole.clauses[0] != result.clause:
            lines.append(f"one finding with {whole.clauses[0]}")
        lines += finding_lines(single(result), result, report, WIDTH, parts)
    else:
        lines += hanging(in_parts(clauses()[result.clause].requirement, result.message), WIDTH)
    return "\n".join(lines)


def first_line(result: Result) -> str:
    """The message in short, after what became of the clause."""
    message = result.message.partition("\n")[0]
    return f"{word(result)} ({result.level}): {message}"
