"""Conventions that somebody declares, to which a subject is held instead of what was found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from properties.basics.errors import QuestionError
from properties.subjects.call import ANSWERS


def parse(words: Iterable[str]) -> dict[str, str]:
    """Answers by convention, of words NAME=ANSWER; QuestionError where one of them is not known."""
    parts = [word.partition("=") for word in words]
    declared: dict[str, str] = {}
    for name, _, answer in parts:
        if declared.setdefault(name, answer) != answer:
            raise QuestionError(
                f"The convention {name} is declared as {declared[name]!r} and as {answer!r}.\n"
                "What to do: declare one of them."
            )
    require_known(declared)
    return declared


def require_known(declared: Mapping[str, str]) -> None:
    """QuestionError unless each convention and its answer are among `ANSWERS`."""
    known = "\n".join(f"    {name}={' or '.join(ANSWERS[name])}" for name in ANSWERS)
    for name, answer in declared.items():
        if name not in ANSWERS:
            raise QuestionError(f"There is no convention {name!r}.\nExpected one of:\n{known}")
        if answer not in ANSWERS[name]:
            raise QuestionError(
                f"The convention {name} has no answer {answer!r}.\nExpected one of:\n{known}"
            )


def options(declared: Mapping[str, str]) -> tuple[str, ...]:
    """The words of the command line that declare them."""
    return tuple(
        word for name, answer in declared.items() for word in ("--convention", f"{name}={answer}")
    )
