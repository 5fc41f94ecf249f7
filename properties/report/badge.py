"""The verdict as a badge: the JSON that https://shields.io/badges/endpoint-badge reads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from properties.result import Report


def write(reports: Sequence[Report], path: Path) -> None:
    """The badge as a file."""
    path.write_text(json.dumps(badge(reports)) + "\n", encoding="utf-8")


def badge(reports: Sequence[Report]) -> dict[str, str | int]:
    """One badge for all reports: the worst verdict, and the waivers it rests on. No percentage: a
    module that holds most laws is wrong. Without a report nothing conforms.
    """
    waivers = sum(len(report.waived) for report in reports)
    more = f", {waivers} waiver{'s' * (waivers > 1)}" if waivers else ""
    if not reports or not all(report.conforms for report in reports):
        message, color = "does not conform", "red"
    elif any(report.in_part for report in reports):
        message, color = f"conforms in part{more}", "yellow"
    else:
        message, color = f"conforms{more}", "yellow" if waivers else "brightgreen"
    return {"schemaVersion": 1, "label": "attention", "message": message, "color": color}
