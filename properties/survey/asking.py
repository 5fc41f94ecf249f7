"""The lines of the survey, asked in processes of their own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from properties.basics.errors import QuestionError
from properties.runs.isolation import Progress, Request, run_isolated
from properties.runs.result import Report
from properties.survey.lines import Line
from properties.survey.row import Row, refused, row


def ask(
    line: Line,
    options: Mapping[str, Any],
    timeout: float,
    progress: Progress,
    arrived: Callable[[Report], None] = lambda report: None,
) -> Row:
    """The row of a line, whose library is installed. options: of a run, see `runner.run`; arrived: is
    handed its report.
    """
    request = Request(
        target=line.target,
        family=line.family,
        options=dict(options),
        timeout=timeout,
        progress=progress,
        given=list(line.given),
    )
    try:
        with environment(line.environment):
            reports = run_isolated(request)
    except QuestionError as error:
        return refused(line, str(error))
    if len(reports) != 1:
        return refused(line, "; ".join(request.refused.values()) or f"{len(reports)} subjects")
    arrived(reports[0])
    return row(line, reports[0])


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """These variables are set for the processes that the body starts."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
