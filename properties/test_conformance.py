"""What `pytest --attention TARGET` collects: one test for each subject and clause."""

from __future__ import annotations

from collections.abc import Callable


def test_clause_holds(attention_check: Callable[[], None]) -> None:
    """The clause holds on every example that was drawn for the subject."""
    attention_check()
