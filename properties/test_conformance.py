"""What `pytest --attention TARGET` collects: one test for each subject and clause."""

from __future__ import annotations

from typing import Any

import pytest

from properties.result import Report, Result, Status


def test_clause_holds(attention_clause: Any, attention_result: tuple[Result, Report]) -> None:
    """The clause holds on every example that was drawn for the subject."""
    from properties.report.terminal import failure_lines

    result, report = attention_result
    if result.status is Status.PASS:
        return
    text = "\n".join(failure_lines(result, report))
    if result.status is Status.UNSUPPORTED:
        pytest.skip(text)
    if result.status is Status.FAIL and result.level != "MUST":
        pytest.xfail(text)
    pytest.fail(text, pytrace=False)
