"""What is asked of a subject: which clauses, in which of its formats."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from copy import copy

from properties.basics.errors import QuestionError
from properties.spec.clause import Clause, select
from properties.subjects.subject import Subject


def asked(profile: str, only: Iterable[str] | None) -> list[Clause]:
    """The clauses that are named, or those of the profile."""
    only = list(only or ())
    return [c for c in select(only or None) if only or c.asked_at(profile)]


def asked_in(subject: Subject, formats: Sequence[str] | None) -> Subject:
    """The subject in these of its formats alone; QuestionError where it runs in none of them."""
    if formats is None:
        return subject
    fewer = copy(subject)
    fewer.dtypes = tuple(dtype for dtype in subject.dtypes if dtype in formats)
    if not fewer.dtypes:
        has = ", ".join(subject.dtypes)
        raise QuestionError(f"{subject.name} runs in {has}, not in {', '.join(formats)}")
    return fewer


def require_concern(subject: Subject, only: Collection[str]) -> None:
    """QuestionError where none of the clauses and areas named concerns the subject.

    What they depend on might, but that is not what was asked.
    """
    named = [c for c in select(list(only) or None) if not only or {c.id, c.area} & set(only)]
    if not any(clause.concerns(subject) for clause in named):
        raise QuestionError(
            f"{subject.name} is of the family {subject.family}, which {', '.join(only)} does not "
            "concern; `attention-properties explain CLAUSE` names the families of a clause."
        )
