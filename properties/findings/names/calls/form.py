"""A wrong form of a call: the question that is answered in place of the one that was asked.

What it gives is the definition's answer to that other question, with the bounds of that one, so no
tolerance is chosen.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, replace

import numpy as np

from properties.basics.dtypes import Array
from properties.cases.call_gradients import Slopes
from properties.cases.question import Question, Truth
from properties.subjects.call import PLAINLY, Answer, Handing, Seen
from properties.truth.request import EMPTY

Asks = Callable[[Question], Question]
Derives = Callable[[Question, Array, Slopes], Slopes]
Gives = Callable[[Question, Truth], Truth]


class RefusedError(ValueError):
    """A form does not fit a question: who computes it raises there."""


def nothing_else(asked: Question, truth: Truth) -> Truth:
    """What is right is returned."""
    return truth


def the_same(asked: Question) -> Question:
    """What was asked is answered."""
    return asked


@dataclass(frozen=True, eq=False)
class Form:
    """called: what is wrong; look: where to look for it; roles: arguments, of which one must be given,
    or a function without any of them must take them; asks: the question that is answered; gives:
    what is then returned; writes: the roles of arguments, or the input, that are written to; of_empty:
    whether it says what rows give that see nothing, by the subject's convention; slopes: what becomes of
    its gradients, where these are wrong by themselves.
    """

    called: str
    look: str
    roles: tuple[str, ...] = ()
    asks: Asks = the_same
    gives: Gives = nothing_else
    writes: tuple[str, ...] = ()
    of_empty: bool = False
    slopes: Derives | None = None

    def truth(self, asked: Question) -> Truth:
        """What is returned for a question; RefusedError where the form raises."""
        told = as_booleans(told_once(asked))
        return unclaimed(self.gives(told, self.asks(told).truth), asked.left_open)

    def touched(self, asked: Question) -> tuple[str, ...]:
        """The names of the arguments that the call writes to."""
        if asked.inputs.keys() & set(self.writes):
            return self.writes
        of = "context_" if "context" in asked.inputs else ""
        takes, given = asked.case.subject.takes, asked.arguments.given()
        return tuple(takes.get(f"{of}{role}", "") for role in self.writes if role in given)

    def concerns(self, asked: Question, handing: Handing = PLAINLY) -> bool:
        """Whether an argument that the form is about is given."""
        given = set(told_once(asked).arguments.given())
        return not self.roles or any(role in given for role in self.roles)


def unclaimed(truth: Truth, rows: Seen) -> Truth:
    """The same without a claim of these rows, (B, T)."""
    if not rows.any():
        return truth
    of_output, of_weights = rows[..., None], rows[:, None, :, None]
    return replace(
        truth,
        allowed=np.where(of_output, np.inf, truth.allowed),
        allowed_if_empty=np.where(of_output, np.inf, truth.allowed_if_empty),
        allowed_weights=np.where(of_weights, np.inf, truth.allowed_weights),
        allowed_averaged=np.where(of_output, np.inf, truth.allowed_averaged),
    )


def told_once(asked: Question) -> Question:
    """A mask and padding that are handed to one argument of a module, as one mask."""
    mask, padding, takes = asked.arguments.mask, asked.arguments.padding, asked.case.subject.takes
    roles = ("context_mask", "context_padding") if asked.crossed else ("mask", "padding")
    one = len({takes.get(role) for role in roles}) == 1
    if asked.function or mask is None or padding is None or not one:
        return asked
    return asked.changed(mask=mask & padding[:, None, None, :], padding=None)


def as_booleans(asked: Question) -> Question:
    """Padding as zeros and minus infinities, as the booleans that hide the same."""
    numbers = asked.arguments.padding_numbers
    if numbers is None or not np.isin(numbers, (0.0, -np.inf)).all():
        return asked
    return asked.changed(padding=numbers == 0.0, padding_numbers=None)


RIGHT = Form("attention as specified", "", of_empty=True)
SEEING = Form("attention as specified, in rows that see something", "")


@dataclass(frozen=True, eq=False)
class Condition:
    """When a form holds: in words, and as a predicate of the question and of how it is put."""

    words: str
    holds: Callable[[Question, Handing], bool]


@dataclass(frozen=True, eq=False)
class Supposed:
    """A form, and when it holds; elsewhere the subject is right."""

    form: Form
    when: Condition | None = None

    def of(self, asked: Question, handing: Handing = PLAINLY) -> Form:
        """The form that answers a question."""
        when = self.when
        holds = self.form.concerns(asked, handing) and (when is None or when.holds(asked, handing))
        return self.form if holds else RIGHT

    def __str__(self) -> str:
        when = f" {self.when.words}" if self.when else ""
        return f"{self.form.called}{when}; look for {self.form.look}"


def agrees(form: Form, asked: Question, answer: Answer | None) -> bool:
    """Whether an answer is what a form gives, within its bounds; None is one that raised."""
    try:
        truth = form.truth(asked)
    except RefusedError:
        return answer is None
    if answer is None or not set(answer.touched) <= set(form.touched(asked)):
        return False
    if form.of_empty and asked.case.subject.conventions.empty:
        right = within(answer.output, truth.output, truth.allowed_if_empty)
    else:
        right = in_rows(form, asked, answer.output, truth)
    _, *others = asked.compared(answer, truth)
    return right and all(within(*part.grids) for part in others)


def in_rows(form: Form, asked: Question, output: Array, truth: Truth) -> bool:
    """Whether an output is the form's, and one of the known answers in rows that see nothing by it."""
    if not truth.empty.any():
        return within(output, truth.output, truth.allowed)
    known = (form.truth(by(asked, empty=answer)) for answer in EMPTY)
    return any(within(output, t.output, t.allowed_if_empty) for t in known)


def within(found: Array, expected: Array, allowed: Array) -> bool:
    """Whether every number is the expected one but for what is allowed."""
    if found.shape != expected.shape:
        return False
    with np.errstate(all="ignore"):
        same = (found == expected) | (np.isnan(found) & np.isnan(expected))
        near = same | (np.abs(found - expected) <= allowed) | np.isinf(allowed)
    return bool(near.all())


def by(asked: Question, **conventions: str) -> Question:
    """The same question to a subject of other conventions."""
    other = copy(asked.case.subject)
    other.conventions = replace(other.conventions, **conventions)
    return replace(asked, case=replace(asked.case, subject=other))
