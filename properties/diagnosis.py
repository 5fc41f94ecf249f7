"""A failure's name: the wrong formula that a subject's output agrees with, if there is one."""

from __future__ import annotations

from properties.case import Case


def behaves_like(case: Case) -> list[str]:
    """The wrong formulas that explain the subject on this failing case, each with where to look."""
    return []
