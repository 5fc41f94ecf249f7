"""The largest error that can be found in a format, searched for with Hypothesis's `target`.

Two things are searched for at once: the largest share of the error bound, and the largest error in units
in the last place of the largest value of its row. The search goes by the definition in float64; whatever
looks like the worst so far is measured again against sixty decimal digits, and that value counts.

Legend: B batch, T tokens, W = H * D.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import hypothesis
import numpy as np
from hypothesis import HealthCheck, Phase, given, settings

from properties.basics.dtypes import FORMATS, Array, Format
from properties.basics.errors import QuestionError, SubjectError
from properties.cases.case import Case
from properties.cases.drawing import from_the_seed_alone
from properties.cases.question import question
from properties.cases.strategies import cases
from properties.runs.observing import representation
from properties.runs.result import describe_case
from properties.spec.clauses import oracle
from properties.spec.profiles import PROFILES
from properties.subjects.subject import Subject
from properties.truth import second_oracle
from properties.truth.oracle import merge

LARGEST = PROFILES["ci"].largest  # of the drawn sizes: sixty digits take their time
MOST = 1e300  # an error without end is told to the search as this
SHARE, ULPS = "share", "ulps"
Listener = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Worst:
    """The largest value found, and the case that has it, in short and as in a report."""

    value: float
    told: str
    case: dict[str, Any]


@dataclass(frozen=True)
class Accuracy:
    """What was found for a subject in a format. counted: examples in the format's range, of those asked;
    share: of the error bound; ulps: units in the last place of the row's largest value.
    """

    subject: str
    dtype: str
    seed: int
    examples: int
    counted: int
    share: Worst | None
    ulps: Worst | None

    def to_dict(self) -> dict[str, Any]:
        """Plain data: what `from_dict` reads."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Accuracy:
        """What `to_dict` wrote."""
        read = {name: data[name] and Worst(**data[name]) for name in (SHARE, ULPS)}
        return cls(**{**data, **read})


@dataclass(frozen=True, eq=False)
class Measured:
    """A subject's output on a case, what is right, and the error that rounding may make, all (B, T, W)."""

    found: Array
    right: Array
    allowed: Array

    def value(self, name: str, form: Format) -> float:
        """The share of the bound, or the error in units in the last place of the row's largest value."""
        with np.errstate(all="ignore"):
            error = np.abs(self.found - self.right)
            unit = self.allowed if name == SHARE else last_place(self.right, form)
            values = np.where(error == 0.0, 0.0, error / unit)
        return float(np.nan_to_num(values, nan=np.inf).max())


def last_place(right: Array, form: Format) -> Array:
    """The spacing of the format's numbers at the largest value of each row, (B, T, 1)."""
    largest = np.maximum(np.abs(right).max(axis=-1, keepdims=True), form.smallest_normal)
    exponent = np.frexp(largest)[1] - 1
    return np.exp2(exponent.astype(np.float64) - (form.significand - 1))


def measured(case: Case) -> Measured:
    """A function's own output for queries, keys and values; of all else the module's for x."""
    if case.subject.bare and case.call is not None:
        asked = question(case)
        return Measured(asked.answer().output, asked.truth.output, asked.truth.allowed)
    return Measured(case.output, case.trace.output, case.budget.output)


def in_digits(case: Case) -> Measured:
    """The same, what is right from sixty decimal digits."""
    known = measured(case)
    if case.subject.bare and case.call is not None:
        asked = question(case)
        q, k, v = (asked.inputs[name] for name in ("queries", "keys", "values"))
        right = merge(second_oracle.attend(q, k, v, asked.request)[0])
    else:
        right = oracle.in_digits(case)
    return Measured(known.found, right, known.allowed)


class Search:
    """One search in one format; the worst case so far for each of the two values."""

    def __init__(self, subject: Subject, dtype: str) -> None:
        self.subject, self.form = copy.copy(subject), FORMATS[dtype]
        self.subject.dtypes = (dtype,)
        self.asked = self.counted = 0
        self.worst: dict[str, tuple[float, Case]] = {}

    def ask(self, case: Case) -> None:
        """Measure one case and tell the search how bad it is."""
        self.asked += 1
        try:
            known = measured(case)
        except SubjectError:
            return
        if not np.isfinite(known.allowed).all():  # a magnitude that leaves the format's range
            return
        self.counted += 1
        for name in (SHARE, ULPS):
            value = known.value(name, self.form)
            if name not in self.worst or value > self.worst[name][0]:
                value = self.again(name, case)
            hypothesis.target(min(value, MOST), label=name)

    def again(self, name: str, case: Case) -> float:
        """The value by sixty digits, kept with its case if it is the largest so far."""
        value = in_digits(case).value(name, self.form)
        if name not in self.worst or value > self.worst[name][0]:
            self.worst[name] = (value, case)
        return value

    def told(self, name: str) -> Worst | None:
        """The worst case of a kind."""
        if name not in self.worst:
            return None
        value, case = self.worst[name]
        return Worst(value, representation(case), describe_case(case))


def accuracy(
    subject: Subject,
    dtype: str,
    examples: int,
    seed: int,
    listen: Listener = lambda phase, done, total: None,
) -> Accuracy:
    """Search so many examples; the same seed finds the same. QuestionError where it cannot be asked."""
    if subject.family != "plain" and not (subject.has("projections") or subject.bare):
        raise QuestionError(
            f"{subject.name}: what is right is not known, because its parameters cannot be set"
        )
    search = Search(subject, dtype)

    @hypothesis.seed(seed)
    @settings(
        max_examples=examples,
        phases=[Phase.generate, Phase.target],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(cases(search.subject, largest=LARGEST))
    def ask(case: Case) -> None:
        listen(f"accuracy {dtype}", search.asked, examples)
        search.ask(case)

    with from_the_seed_alone():
        ask()
    worst = {name: search.told(name) for name in (SHARE, ULPS)}
    return Accuracy(subject.name, dtype, seed, search.asked, search.counted, **worst)
