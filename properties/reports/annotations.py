"""GitHub's workflow commands: what failed is shown at the class in the diff."""

from __future__ import annotations

import os

from properties.reports.text import explained
from properties.reports.verdict import word
from properties.runs.result import Report, Result, Status


def show(report: Report) -> None:
    """Print the annotations, where GitHub reads them and nowhere else."""
    if os.environ.get("GITHUB_ACTIONS") == "true":
        for line in lines(report):
            print(line)


def lines(report: Report) -> list[str]:
    """An error for each clause that decides against the subject, a warning for each that does not: bad
    input that is not refused, an edge, advice.
    """
    return [
        command(result, report)
        for result in report.results
        if report.decides(result) or result.status is Status.FAIL
    ]


def command(result: Result, report: Report) -> str:
    """One annotation; `file` and `line` are left out where they are not known."""
    title = f"{result.clause} ({word(result)})"
    place = {"file": report.source.get("file"), "line": report.source.get("line"), "title": title}
    options = ",".join(f"{name}={quoted(str(value))}" for name, value in place.items() if value)
    level = "error" if report.decides(result) else "warning"
    text = explained(result, report, "numbers")  # no place for pictures
    return f"::{level} {options}::{escaped(text)}"


def escaped(text: str) -> str:
    """The text on one line, as GitHub unescapes it."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def quoted(text: str) -> str:
    """The same for the value of an option."""
    return escaped(text).replace(":", "%3A").replace(",", "%2C")
