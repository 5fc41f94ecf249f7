"""Outputs and gradients of both sides on one example, judged by both error budgets together.

Legend: B batch, T tokens, W = H * D.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from properties.basics.assertions import Violation, near
from properties.basics.dtypes import Array
from properties.basics.errors import SubjectError
from properties.cases.case import Case, parameters
from properties.cases.long_rows import long_rows, turned_rows
from properties.compare.outcome import Agreement
from properties.subjects.subject import Config, Subject
from properties.truth.parameters import Weights

AXES = "batch token column"
Found = TypeVar("Found")


@dataclass(frozen=True, eq=False)
class Pair:
    """Two subjects that carry the same weights; examples are drawn for what both can take."""

    old: Subject
    new: Subject

    @property
    def sides(self) -> tuple[Subject, Subject]:
        """Old, new."""
        return self.old, self.new


class Common(Subject):
    """What examples are drawn for: the old side's weights, sizes and formats that both can take."""

    def __init__(self, pair: Pair) -> None:
        """The old side, less what the new one lacks; calls are compared of two functions or two modules."""
        old, new = pair.sides
        self.pair, self.name, self.family = pair, old.name, old.family
        sizes = frozenset({"rectangular", "context-width"})
        self.capabilities = old.capabilities - (sizes - new.capabilities)
        self.dtypes = tuple(d for d in old.dtypes if d in new.dtypes)
        self.differentiable = all(side.differentiable for side in pair.sides)
        self.limits, self.positions, self.scaled = (
            old.limits | new.limits,
            old.positions,
            old.scaled,
        )
        self.bare, self.conventions = old.bare, old.conventions
        self.compiled = any(side.compiled for side in pair.sides)
        if old.bare == new.bare:
            self.takes = {role: by for role, by in old.takes.items() if role in new.takes}

    def build(self, config: Config, weights: Weights | None) -> Any:
        """The old side's module."""
        return self.pair.old.build(config, weights)


def on(case: Case, subject: Subject) -> Case:
    """The same example for one side."""
    return replace(case, subject=subject)


def attempt(run: Callable[[Case], Found], case: Case, subject: Subject) -> Found | SubjectError:
    """What one side gives, or the error that it raises instead."""
    try:
        return run(on(case, subject))
    except SubjectError as error:
        return error


def both(run: Callable[[Case], Found], pair: Pair, case: Case) -> tuple[Found, Found] | None:
    """What both sides give, None if both raise; Violation if only one does."""
    old, new = (attempt(run, case, subject) for subject in pair.sides)
    if isinstance(old, SubjectError) or isinstance(new, SubjectError):
        if isinstance(old, SubjectError) and isinstance(new, SubjectError):
            return None
        was, now = (str(s) if isinstance(s, SubjectError) else "a result" for s in (old, new))
        raise Violation(was, now, {})
    return old, new


def compare_outputs(pair: Pair, case: Case) -> Agreement:
    """The outputs in eval; Violation where they are further apart than rounding takes them."""
    found = both(lambda own: own.run(), pair, case)
    if found is None:
        return Agreement(raised=1)
    return agree("the output", *found, 2.0 * case.budget.output, AXES, case.sizes.tokens)


def compare_long_rows(
    pair: Pair, subject: Subject, tokens: int, items: int, dtype: str
) -> Agreement:
    """The outputs of rows of so many tokens; subject: what examples are drawn for. OutsideError where they
    are not taken.
    """
    if subject.positions is not None:
        return compare_outputs(pair, turned_rows(subject, tokens, dtype))
    case, truth = long_rows(subject, tokens, items, dtype)
    found = both(lambda own: own.run(), pair, case)
    if found is None:
        return Agreement(raised=1)
    return agree("the output", *found, 2.0 * truth.allowed(dtype), AXES, tokens)


def compare_gradients(pair: Pair, case: Case) -> Agreement:
    """The gradients of the input, and of the parameters that carry our weights."""
    found = both(lambda own: own.build().gradients(own.x, own.upstream), pair, case)
    if found is None:
        return Agreement(raised=1)
    old, new = found
    budget = case.gradient_budget
    parts = [agree("the gradient of the input", old["x"], new["x"], 2.0 * budget.x, AXES)]
    ours, theirs, allowed = (
        parameters(pair.old.collect(old, on(case, pair.old).config())),
        parameters(pair.new.collect(new, on(case, pair.new).config())),
        parameters(budget.parameters),
    )
    for name in (n for n in ours if n in theirs and n in allowed):
        axes = "row column" if ours[name].ndim == 2 else "column"
        what = f"the gradient of {name}"
        parts.append(agree(what, ours[name], theirs[name], 2.0 * allowed[name], axes))
    exact = all(part.identical for part in parts)
    return Agreement(1, int(exact), max(part.share for part in parts), tokens=case.sizes.tokens)


def agree(
    what: str, old: Array, new: Array, allowed: Array, axes: str, tokens: int = 0
) -> Agreement:
    """One example: how near two arrays are; Violation if their shapes or their numbers differ."""
    if old.shape != new.shape:
        raise Violation(f"{what} of shape {old.shape}", f"{new.shape}", {})
    identical = np.ascontiguousarray(old).tobytes() == np.ascontiguousarray(new).tobytes()
    return Agreement(1, int(identical), near(what, new, old, allowed, axes), tokens=tokens)
