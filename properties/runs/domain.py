"""What a subject cannot take is found by trying, so that all else can be asked inside.

A module may be right and only work at T = context_length, for one item, for two tokens or more. That
is a finding of its own. Without it every clause would fail, or be blocked, for that one reason, and a
scale that is missing besides would never be told.

Legend: B batch, T tokens, H heads, D head_dim.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from properties.basics.dtypes import FORMATS
from properties.basics.errors import SubjectError
from properties.cases.case import Case
from properties.cases.strategies import coincide, make_case
from properties.spec.clauses.conditions import visible
from properties.spec.clauses.numerics import scaled_in_float32, weights_in_float32, with_all_bits
from properties.subjects.limits import Limits
from properties.subjects.subject import Subject
from properties.truth.parameters import Sizes

BASE = Sizes(batch=2, tokens=4, d_in=7, heads=3, head_dim=4, context_length=6)
WEIGHTS = "numerics/float64-weights-are-no-float32"
SCALE_IN_FLOAT32 = "keeps its scale in float32, whatever the format of the input"
LONG = 40  # tokens; every-past-token-is-seen asks for up to 33
Change = Callable[[Subject], Subject]


@dataclass(frozen=True, eq=False)
class Limitation:
    """What the subject cannot take: in words, and an example on which the clause fails for it."""

    words: str
    clause: str
    witness: Case


@dataclass(frozen=True)
class Repair:
    """A way to ask inside a limit: what to say of it, and the subject asked so."""

    words: str
    change: Change
    witness: Sizes = BASE  # what fails without the repair


def limited(**limits: bool | int) -> Change:
    """The change of a subject to one with these limits besides its own."""

    def change(subject: Subject) -> Subject:
        changed = copy.copy(subject)
        changed.limits = subject.limits | Limits(**limits)  # type: ignore[arg-type]
        return changed

    return change


def without(*capabilities: str, gain: str = "") -> Change:
    """The change of a subject to one without these capabilities."""

    def change(subject: Subject) -> Subject:
        changed = copy.copy(subject)
        changed.capabilities = (subject.capabilities - set(capabilities)) | ({gain} - {""})
        return changed

    return change


FULL = Repair("works only at T = context_length", limited(full_context=True))
ALONE = Repair("works only for a batch of one item", limited(one_item=True))
UNBATCHED = Repair(
    "works only for one sequence (T, d_in), not for a batch", without("batched", gain="unbatched")
)
SQUARE = Repair("works only where d_in = d_out", without("rectangular"))
EVEN = Repair("works only for an even head_dim", limited(head_dims=2), replace(BASE, head_dim=5))
SEVERAL = Repair(
    "works only for two tokens or more", limited(least_tokens=2), replace(BASE, tokens=1)
)
EQUAL = Repair(
    "works only for as many heads of keys as of queries",
    without("groups"),
    replace(BASE, heads=4, groups=2),
)
EVERYWHERE = (FULL, ALONE, UNBATCHED, SQUARE)
"""Repairs of a subject that does not run at all at sizes which are nothing special."""


def explore(subject: Subject) -> tuple[Subject, list[Limitation]]:
    """The subject as it can be asked, and what it cannot take. One that always raises is left alone."""
    repairs = needed(subject)
    inside = repaired(subject, repairs)
    if not works(inside, BASE):
        return subject, []
    for repair in (*((EQUAL,) if inside.has("groups") else ()), EVEN, SEVERAL):
        if not works(inside, repair.witness) and works(repair.change(inside), BASE):
            inside, repairs = repair.change(inside), [*repairs, repair]
    if not works(inside, longer(LONG)):
        most = longest(inside)
        words = f"works only for up to {most} tokens"
        repair = Repair(words, limited(most_tokens=most), longer(LONG))
        inside, repairs = repair.change(inside), [*repairs, repair]
    limitations = [
        Limitation(repair.words, "shape/output-shape", request(subject, repair.witness))
        for repair in repairs
    ]
    if repairs:  # what one of them stood in the way of
        inside.dtypes = tuple(dtype for dtype in FORMATS if works(inside, BASE, dtype))
        stale = tuple(f"not asked in {dtype}" for dtype in inside.dtypes)
        inside.notes = tuple(note for note in inside.notes if not note.startswith(stale))
    if limitation := narrowed(inside):
        inside = copy.copy(inside)
        inside.dtypes = tuple(dtype for dtype in inside.dtypes if dtype != "float64")
        inside.lacking = {**inside.lacking, "float64": f"it {limitation.words}"}
        limitations.append(limitation)
    return inside, limitations


def needed(subject: Subject) -> list[Repair]:
    """The fewest repairs with which the subject runs at sizes that are nothing special."""
    for count in range(3):
        for repairs in combinations(EVERYWHERE, count):
            if works(repaired(subject, repairs), BASE):
                return list(repairs)
    return []


def repaired(subject: Subject, repairs: Iterable[Repair]) -> Subject:
    """The subject as all of these ask it."""
    for repair in repairs:
        subject = repair.change(subject)
    return subject


def request(subject: Subject, sizes: Sizes, dtype: str = "") -> Case:
    """An ordinary example of these sizes, made to fit the subject."""
    fitting = coincide(sizes, "all different", subject)
    return make_case(subject, fitting, dtype or subject.dtypes[0], "ordinary", False, 0.5, 1, 0)


def works(subject: Subject, sizes: Sizes, dtype: str = "") -> bool:
    """Whether there is an output of the right shape."""
    case = request(subject, sizes, dtype)
    s = case.sizes
    try:
        return case.output.shape == (s.batch, s.tokens, s.width)
    except SubjectError:
        return False


def longer(tokens: int) -> Sizes:
    """The base with so many tokens."""
    return replace(BASE, tokens=tokens, context_length=tokens + 2)


def longest(subject: Subject) -> int:
    """The most tokens that the subject takes, between the base's and `LONG`."""
    low, high = BASE.tokens, LONG
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if works(subject, longer(middle)) else (low, middle)
    return low


def narrowed(subject: Subject) -> Limitation | None:
    """What is computed in float32 whatever the format of the input; None for nothing found."""
    if not subject.has("projections") or not {"float32", "float64"} <= set(subject.dtypes):
        return None
    if narrow := computed_in_float32(subject):
        return in_float32(narrow)
    sizes = replace(BASE, head_dim=5)  # whose root is no number of float32
    case = replace(request(with_exact_angles(subject), sizes), dtype="float64")
    try:
        rounded = scaled_in_float32(case)
    except SubjectError:
        return None
    return Limitation(SCALE_IN_FLOAT32, WEIGHTS, case) if rounded else None


def computed_in_float32(subject: Subject) -> Case | None:
    """An example in float64 whose attention weights are numbers of float32, right to its rounding.

    One-hot values pass weights on exactly, so a softmax that is always taken in float32 shows. An
    output that comes back in another format is another matter.
    """
    case = replace(request(with_exact_angles(subject), BASE), dtype="float64")
    try:
        if not weights_in_float32(visible(case)):
            return None
        instance = case.build()
        output = instance.forward(instance.tensor(case.x if instance.batched else case.x[0]))
    except SubjectError:
        return None
    return case if output.dtype == instance.dtype else None


def in_float32(narrow: Case) -> Limitation:
    """What is computed in float32: the weights alone, a habit, or what they are multiplied by as well.

    The weight of a single token is one in every format, so that its output shows the values.
    """
    single = with_all_bits(narrow.take(tokens=[0]))
    always = "in float32, whatever the format of the input"
    try:
        off = (np.abs(single.output - single.trace.output) > single.budget.output).any()
    except SubjectError:  # a single token is not taken
        off = np.False_
    if off:
        return Limitation(f"computes {always}", "numerics/no-quiet-downcast", narrow)
    words = f"computes the weights {always}"
    return Limitation(words, WEIGHTS, narrow)


def with_exact_angles(subject: Subject) -> Subject:
    """The subject, held to angles without rounding: rounded ones allow errors like those looked for."""
    if subject.positions is None:
        return subject
    exact = copy.copy(subject)
    exact.positions = replace(subject.positions, exact=True)
    return exact
