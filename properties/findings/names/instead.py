"""Whether another subject, asked instead of the one that failed, breaks a clause on the same case."""

from __future__ import annotations

from dataclasses import replace

from properties.basics.assertions import Violation
from properties.basics.errors import SubjectError
from properties.cases.case import Case
from properties.spec.clause import clauses
from properties.subjects.subject import Subject


def breaks(clause: str, case: Case, wrong: Subject, right: Subject) -> bool | None:
    """Whether a wrong stand-in breaks a clause that one like it, but right, does not break."""
    if passes(clause, case, right) is not True:
        return None
    passed = passes(clause, case, wrong)
    return None if passed is None else not passed


def passes(clause: str, case: Case, subject: Subject) -> bool | None:
    """Whether a stand-in passes a clause on a case; None where it cannot be asked."""
    try:
        clauses()[clause].check(replace(case, subject=subject))
    except (Violation, SubjectError):
        return False
    except Exception:  # a law that looks into the subject does not find there what it looks for
        return None
    return True
