"""A subject that computes a wrong form of a call, and what a clause asks.

Legend: B batch, H heads, T queries, S keys.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from properties.basics.assertions import Violation
from properties.basics.errors import SubjectError
from properties.cases.case import Case
from properties.cases.question import Question
from properties.findings.names.calls.battery import Item
from properties.findings.names.calls.form import RIGHT, Supposed
from properties.spec.clause import clauses
from properties.subjects.call import Answer, Arguments, Handing, Inputs
from properties.subjects.subject import Config, Subject
from properties.truth.parameters import Weights

ALIVE = 64  # failing cases of which it is kept what they were asked: those of a run
KEPT = (
    "name",
    "family",
    "capabilities",
    "dtypes",
    "differentiable",
    "limits",
    "takes",
    "conventions",
    "bare",
)


class Kept(Subject):
    """A subject like another one: what it takes, its conventions, its limits."""

    def __init__(self, original: Subject) -> None:
        self.original = original
        for name in KEPT:
            setattr(self, name, getattr(original, name))

    def build(self, config: Config, weights: Weights | None) -> Any:
        """What the other one builds."""
        return self.original.build(config, weights)


class Listening(Kept):
    """One that notes what it is asked."""

    def __init__(self, case: Case) -> None:
        super().__init__(case.subject)
        self.case, self.items = case, list[Item]()

    def ask(self, module: Any, inputs: Inputs, arguments: Arguments, dtype: str) -> Answer:
        """The original's answer."""
        return self.noted(
            Question(replace(self.case, dtype=dtype), inputs, arguments),
            lambda: self.original.ask(module, inputs, arguments, dtype),
        )

    def ask_handing(
        self, inputs: Inputs, arguments: Arguments, dtype: str, handing: Handing
    ) -> Answer:
        """The original's answer."""
        return self.noted(
            Question(replace(self.case, dtype=dtype), inputs, arguments),
            lambda: self.original.ask_handing(inputs, arguments, dtype, handing),
        )

    def noted(self, asked: Question, ask: Callable[[], Answer]) -> Answer:
        """An answer, kept with its question."""
        try:
            answer = ask()
        except BaseException:
            self.items.append(Item(asked, None))
            raise
        self.items.append(Item(asked, answer))
        return answer


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
        """The same, however it is handed over."""
        return self.ask(None, inputs, arguments, dtype)


@lru_cache(maxsize=ALIVE)
def heard(clause: str, case: Case) -> tuple[Item, ...]:
    """What a clause asks the subject for the sake of a case, until it fails."""
    subject = Listening(case)
    with suppress(Violation, SubjectError):  # the failure itself; what was asked until then counts
        clauses()[clause].check(replace(case, subject=subject))
    return tuple(subject.items)


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
