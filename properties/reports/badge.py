"""The verdict as a badge: the JSON that https://shields.io/badges/endpoint-badge reads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from properties.reports.verdict import plural
from properties.runs.result import Report, Status


def write(reports: Sequence[Report], path: Path) -> None:
    """The badge as a file."""
    path.write_text(json.dumps(badge(reports)) + "\n", encoding="utf-8")


def badge(reports: Sequence[Report]) -> dict[str, str | int]:
    """One badge for all reports: the worst of each half, and the waivers they rest on. No percentage:
    a module that holds most laws is wrong. Without a report nothing is right.
    """
    waivers = sum(len(report.waived) for report in reports)
    more = second_half(reports) + (f", {plural(waivers, 'waiver')}" if waivers else "")
    if any(report.wrong for report in reports):
        message, color = "not right", "red"
    elif not reports or not all(report.right for report in reports):
        message, color = "no verdict", "red"
    elif any(report.in_part for report in reports):
        message, color = f"right in part{more}", "yellow"
    else:
        message, color = f"right{more}", "yellow" if waivers else "brightgreen"
    if any(report.exit_code for report in reports):
        color = "red"
    return {"schemaVersion": 1, "label": "attention", "message": message, "color": color}


def second_half(reports: Sequence[Report]) -> str:
    """Whether bad input is refused, where that was asked of any."""
    if not all(report.guarded for report in reports):
        return ", unguarded"
    asked = any(report.with_status(Status.PASS, half="guarded") for report in reports)
    return ", guarded" * asked
