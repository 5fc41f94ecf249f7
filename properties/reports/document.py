"""Reports as one JSON document of the versioned schema."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from properties.runs.result import Report

SCHEMA = "attention-properties/report/2"


def as_json(reports: Sequence[Report]) -> str:
    """The document as text."""
    document = {"schema": SCHEMA, "reports": [report.to_dict() for report in reports]}
    return json.dumps(document, indent=2, allow_nan=False, default=float)


def write(reports: Sequence[Report], path: Path) -> None:
    """The document as a file."""
    path.write_text(as_json(reports) + "\n", encoding="utf-8")
