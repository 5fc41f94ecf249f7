"""A subject that computes a wrong form of a call, and what a clause asks.

Legend: B batch, H heads, T queries, S keys.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from properties.basics.assertions import Violation
from properties.basics.dtypes import Array
from properties.basics.errors import SubjectError
from properties.cases.case import Case
from properties.cases.question import Question
from properties.findings.call_tape import Kept, heard_until_it_fails
from properties.findings.names.calls.backward import gradients_of, item
from properties.findings.names.calls.battery import Item
from properties.findings.names.calls.form import RIGHT, Supposed
from properties.spec.clause import clauses
from properties.subjects.call import Answer, Arguments, Handing, Inputs

ALIVE = 64  # failing cases of which it is kept what they were asked: those of a run


class Supposing(Kept):
    """One that computes a form; nothing is built for it."""

    def __init__(self, case: Case, supposed: Supposed) -> None:
        super().__init__(case.subject)
        self.case, self.supposed, self.bare = case, supposed, True

    def ask(self, module: Any, inputs: Inputs, arguments: Arguments, dtype: str) -> Answer:
        """The form's answer, by the conventions of the original."""
        asked = Question(replace(self.case, dtype=dtype), inputs, arguments)
        form, kept = self.supposed.of(asked), self.conventions
        with np.errstate(all="ignore"):
            truth = form.truth(asked)
        weights = truth.weights.mean(axis=1) if kept.weights == "averaged" else truth.weights
        base = np.log(2.0) if kept.lse == "base 2" else 1.0
        return Answer(
            truth.output,
            weights if arguments.weights else None,
            truth.lse / base if arguments.lse else None,
            form.touched(asked),
        )

    def ask_handing(
        self, inputs: Inputs, arguments: Arguments, dtype: str, handing: Handing
    ) -> Answer:
        """The same, however it is handed over; under dropout nothing is dropped."""
        answer = self.ask(None, inputs, arguments, dtype)
        return replace(answer, output=answer.output / (1.0 - handing.dropout))

    def call_gradients(
        self, inputs: Inputs, arguments: Arguments, upstream: Array, dtype: str
    ) -> dict[str, Array]:
        """Those of the form."""
        asked = Question(replace(self.case, dtype=dtype), inputs, arguments)
        with np.errstate(all="ignore"):
            return dict(gradients_of(self.supposed.of(asked), asked, upstream).right)


@lru_cache(maxsize=ALIVE)
def heard(clause: str, case: Case) -> tuple[Item, ...]:
    """What a clause asks the subject for the sake of a case, until it fails."""
    calls = heard_until_it_fails(clauses()[clause], case)
    return tuple(map(item, calls))


def breaks(supposed: Supposed, clause: str, case: Case) -> bool | None:
    """Whether a subject that computes a form breaks a clause that a right one does not break."""
    if passes(Supposed(RIGHT), clause, case) is not True:
        return None
    passed = passes(supposed, clause, case)
    return None if passed is None else not passed


def passes(supposed: Supposed, clause: str, case: Case) -> bool | None:
    """Whether a subject that computes a form passes a clause; None where it cannot be asked."""
    try:
        clauses()[clause].check(replace(case, subject=Supposing(case, supposed)))
    except (Violation, SubjectError):
        return False
    except Exception:  # what it needs of a subject besides answers is not there
        return None
    return True
