"""Failures as scripts, each a file of its own that needs torch and the subject's class alone."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from properties.basics.errors import QuestionError
from properties.runs.result import Report, Result, Status


def usable(folder: Path) -> None:
    """QuestionError unless the folder is there or can be made; known before the work."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise QuestionError(
            f"--repro {folder}: {error.strerror}; name a folder, which is made if it is not there"
        ) from error


def write(reports: Sequence[Report], folder: Path) -> list[str]:
    """Write all scripts, in a folder for each subject if there are several.

    Returns a line for each failure: where its script is, or that there is none.
    """
    return [line for report in reports for line in written(report, place(report, reports, folder))]


def place(report: Report, reports: Sequence[Report], folder: Path) -> Path:
    """The folder for a subject's scripts."""
    return folder / file_name(report.subject) if len(reports) > 1 else folder


def written(report: Report, folder: Path) -> Iterator[str]:
    """Write the scripts of one report; a line for each failure."""
    for result in failures(report):
        if not result.script:
            yield f"no script {result.clause}: its case does not fail in a process of its own"
            continue
        folder.mkdir(exist_ok=True)
        path = folder / f"{file_name(result.clause)}.py"
        path.write_text(result.script, encoding="utf-8")
        yield f"script    {path}"


def failures(report: Report) -> list[Result]:
    """The failed clauses of any level; a waiver that is not needed any more has no case to show."""
    failed = (result for result in report.results if result.status is Status.FAIL)
    return [result for result in failed if result.counterexample is not None]


def file_name(name: str) -> str:
    """A name that any file system takes."""
    return re.sub(r"[^0-9A-Za-z_-]+", "-", name).strip("-")
