"""Property-based verification of attention implementations.

    from properties import check
    report = check(MyAttention)

Importing this package is cheap: torch and Hypothesis are loaded by the first check.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from properties.result import Report
    from properties.subject import Subject as Subject

__all__ = ["Config", "QuestionError", "Report", "Subject", "Weights", "check"]

_HOMES = {
    "Config": "properties.subject",
    "QuestionError": "properties.errors",
    "Report": "properties.result",
    "Subject": "properties.subject",
    "Weights": "properties.subject",
}


def check(
    target: Any,
    family: str | None = None,
    profile: str = "ci",
    seed: int = 0,
    only: Iterable[str] | None = None,
    fail_fast: bool = False,
) -> Report:
    """Check one attention implementation against the specification.

    target: a class, a factory, a `Subject`, or a string such as "package.module:Name",
    "path/to/file.py:Name" or "path/to/notebook.ipynb:Name"; family: one of plain, self, causal,
    wrapper, multihead where it should not be found out; profile: quick, ci or thorough; only: ids
    or areas of clauses; fail_fast: stop at the first failed MUST clause.

    Raises `QuestionError` where the question cannot be asked.
    """
    from properties.errors import QuestionError
    from properties.runner import run
    from properties.targets import find

    subjects = find(target, family)
    if len(subjects) != 1:
        names = ", ".join(subject.name for subject in subjects)
        raise QuestionError(f"{target} holds {len(subjects)} attention classes ({names}); name one")
    return run(subjects[0], profile=profile, seed=seed, only=only, fail_fast=fail_fast)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'properties' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
