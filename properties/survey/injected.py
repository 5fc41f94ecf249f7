"""One line of the survey with each of the faults: subjects for a process of its own.

Which line, the variable says; see `injecting`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from properties.recognition.targets import find_one
from properties.subjects import choosing
from properties.subjects.subject import Subject
from properties.survey.faults import FAULTS, LINE, has_place, injected
from properties.survey.lines import lines


def subjects() -> Iterator[tuple[str, Subject]]:
    """The line's subject with each fault that has a place in it, by the fault."""
    line = next(line for line in lines() if line.name == os.environ[LINE])
    given = choosing.parse(list(line.given))
    found = find_one(line.target, line.family, given=given)
    yield from ((fault, injected(found, fault)) for fault in FAULTS if has_place(found, fault))


def made(name: str, subject: Subject) -> type[Subject]:
    """A class of this name whose instances are the subject."""

    def be(self: Subject) -> None:
        vars(self).update(vars(subject))

    return type(name, (type(subject),), {"__init__": be, "__module__": __name__})


vars().update({fault: made(fault, subject) for fault, subject in subjects()})
