"""What a failure looks like: grids of expected and actual numbers, with the offending cells."""

from __future__ import annotations

from typing import Any

from properties.case import Case


def evidence(clause: str, case: Case) -> dict[str, Any] | None:
    """Plain data that a report can draw for this failure; None where there is nothing to draw."""
    return None
