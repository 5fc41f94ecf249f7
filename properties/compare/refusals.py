"""Bad input: what one side refuses and the other answers.

Legend: B batch, T tokens, W = H * D.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from properties.basics.errors import SubjectError
from properties.cases.case import Case
from properties.compare.outcome import Change
from properties.compare.results import Pair, on
from properties.spec.clauses.error import construction_refused, indivisible, of_width
from properties.subjects.subject import JOINED_FAMILIES

Ask = Callable[[Case], str | None]  # what is raised, None if there is an answer


@dataclass(frozen=True)
class Question:
    """Bad input in words, how to ask it, and the clause that forbids an answer."""

    what: str
    clause: str
    ask: Ask


def compare_refusals(pair: Pair, case: Case) -> tuple[list[Change], list[str]]:
    """Questions that only one side refuses; a note for those refused by another type of error."""
    changes, notes = [], []
    for question in questions(pair, case):
        old, new = (question.ask(on(case, subject)) for subject in pair.sides)
        if (old is None) != (new is None):
            was, now = (said or "an answer" for said in (old, new))
            changes.append(Change("refusal", question.what, was, now, question.clause))
        elif old and new and kind(old) != kind(new):
            notes.append(f"{question.what}: refused by {kind(new)}, was {kind(old)}")
    return changes, notes


def kind(text: str) -> str:
    """The exception's type in what was raised."""
    return text.partition(":")[0]


def questions(pair: Pair, case: Case) -> list[Question]:
    """What there is to refuse where both sides could."""
    s, family = case.sizes, pair.old.family
    asked = [Question("an input of one axis", "error/wrong-rank", one_axis)]
    if family != "plain":
        what = f"{s.d_in + 1} columns where d_in is {s.d_in}"
        asked.append(Question(what, "error/wrong-d_in", one_column_more))
    if all(subject.has("context-length") for subject in pair.sides):
        what = f"{s.context_length + 1} tokens where {s.context_length} fit"
        asked.append(Question(what, "error/too-many-tokens-raise", one_token_more))
    if family in JOINED_FAMILIES:
        config = indivisible(case)
        what = f"{config.sizes.heads} heads for a width of {config.width}"
        asked.append(
            Question(
                what,
                "error/indivisible-heads",
                lambda own: construction_refused(own, indivisible(own)),
            )
        )
    if all(subject.has("dropout") for subject in pair.sides):
        asked += [dropout_question(p) for p in (1.5, -0.5, float("nan"))]
    return asked


def one_axis(case: Case) -> str | None:
    """What is raised on a token alone."""
    return case.build().refusal(case.x[0, 0])


def one_column_more(case: Case) -> str | None:
    """What is raised on an input that is too wide."""
    return case.build().refusal(of_width(case, case.sizes.d_in + 1))


def one_token_more(case: Case) -> str | None:
    """What is raised on an input that is too long."""
    tokens = np.arange(case.sizes.context_length + 1) % case.sizes.tokens
    x = case.x[:, tokens]
    return case.build().refusal(x if case.subject.has("batched") else x[0])


def dropout_question(probability: float) -> Question:
    """A dropout that is no probability, at construction or at the latest in training."""

    def ask(case: Case) -> str | None:
        try:
            case.subject.build(case.config(dropout=probability), case.weights)
        except Exception as error:  # being refused is what is asked for
            return f"{type(error).__name__} at construction: {error}"
        try:
            replace(case, seed=0).run(training=True, dropout=probability)
        except SubjectError as error:
            cause = type(error.__cause__ or error).__name__
            return f"{cause} in training: {error}"
        return None

    return Question(f"a dropout of {probability}", "error/dropout-out-of-range", ask)
