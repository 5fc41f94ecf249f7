"""Which wrong forms of a call explain a failure, and when they hold.

A form is told if it agrees with every answer of the subject: to the questions of the battery, and to
those that the failing clause asks. Where it holds under a condition alone, the subject must be right
elsewhere. And a subject that computes it must break the clause.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache

from properties.cases.case import Case
from properties.findings.names.calls.battery import (
    battery,
    slopes_alone,
    under_dropout,
    with_small_numbers,
)
from properties.findings.names.calls.catalogue import catalogue
from properties.findings.names.calls.earlier import KEPT, of_an_earlier_call
from properties.findings.names.calls.form import Condition, Form, Supposed
from properties.findings.names.calls.items import Item
from properties.findings.names.calls.standin import breaks, heard
from properties.subjects.subject import Subject

AREAS = frozenset(
    {"mask", "cross", "groups", "window", "score", "result", "memory", "packed", "paths"}
)
OF_BOTH = frozenset({"groups"})  # areas that ask modules by their weights, too
FORGOTTEN = "memory/earlier-call-is-forgotten"
FEW = 3  # names that nothing tells apart
CONDITIONS = (
    Condition("beside the causal flag", lambda q, how: bool(q.arguments.causal)),
    Condition("without the causal flag", lambda q, how: not q.arguments.causal),
    Condition(
        "beside a mask", lambda q, how: q.arguments.mask is not None or q.arguments.bias is not None
    ),
    Condition("where keys and queries differ in number", lambda q, how: q.shape[2] != q.shape[3]),
    Condition("with more queries than keys", lambda q, how: q.shape[2] > q.shape[3]),
    Condition("with one query", lambda q, how: q.shape[2] == 1),
    Condition("where there is a context", lambda q, how: "context" in q.inputs),
    Condition("when the LSE is asked for", lambda q, how: q.arguments.lse),
    Condition("when the weights are asked for", lambda q, how: q.arguments.weights),
    Condition("when no weights are asked for", lambda q, how: not q.arguments.weights),
    Condition("in training", lambda q, how: how.training),
    Condition("in eval", lambda q, how: not how.training),
    Condition("where gradients are recorded", lambda q, how: how.gradients),
    Condition("under dropout", lambda q, how: how.dropout > 0.0),
)


def concerns(clause: str, case: Case) -> bool:
    """Whether a clause asks the subject of a case by what calls are told."""
    area = clause.partition("/")[0]
    return area in AREAS and (case.subject.bare or area not in OF_BOTH)


def named(clause: str, case: Case) -> list[str]:
    """What the subject behaves like, as far as that explains why it fails a clause about calls."""
    items = heard(clause, case)
    if not items:
        return []
    if told := of_an_earlier_call(items) if clause == FORGOTTEN else []:
        return told
    found = [s for s in fitting(case.subject) if explained(s, clause, case)]
    always = [s for s in found if s.when is None]
    names = list(dict.fromkeys(map(str, always or found)))
    return names if len(names) <= FEW else []


def explains(name: str, clause: str, case: Case) -> bool | None:
    """Whether a form of this name explains that a clause fails on a case; None: unknown."""
    if clause == FORGOTTEN and name in KEPT:
        return name in of_an_earlier_call(heard(clause, case))
    answers = [explained(s, clause, case) for s in fitting(case.subject) if str(s) == name]
    if True in answers:
        return True
    return None if not answers or None in answers else False


def explained(supposed: Supposed, clause: str, case: Case) -> bool | None:
    """Whether every answer is what a form gives, and the clause fails for that; None: unknown.

    A subject that computes the form breaks the clause; or an answer that is not right is the form's. One
    may break a law by rounding alone: the bounds are those of the right numbers.
    """
    broken, items = breaks(supposed, clause, case), heard(clause, case)
    if not of_all(supposed, items):
        return None if broken is not False else False
    if broken is False and clause.partition("/")[0] != "memory":  # which is about no number
        return any(item.off for item in items)
    return broken


def of_all(supposed: Supposed, items: Iterable[Item]) -> bool:
    """Whether what is supposed agrees with every answer."""
    return all(item.agrees(supposed.of(item.asked, item.handing)) for item in items)


@lru_cache(maxsize=2)
def fitting(subject: Subject) -> tuple[Supposed, ...]:
    """The forms, and when they hold, that agree with the whole battery; one answer of it is wrong. Where
    none is, one to small numbers of padding, one under dropout, or else one of the gradients.
    """
    of_answers = [form for form in catalogue() if form.slopes is None]
    of_gradients = [form for form in catalogue() if form.slopes is not None]
    for ask, forms in (
        (battery, of_answers),
        (with_small_numbers, of_answers),
        (under_dropout, of_answers),
        (slopes_alone, of_gradients),
    ):
        items = ask(subject)
        if not all(item.right for item in items):
            return tuple(s for form in forms for s in held(form, items))
    return ()


def held(form: Form, items: tuple[Item, ...]) -> Iterator[Supposed]:
    """A form if it holds always, else with each condition under which it holds."""
    always = Supposed(form)
    wrong = [item for item in items if not item.right]
    told = (*wrong, *items)  # the wrong ones first, since they tell most
    if of_all(always, told):
        yield always
        return
    for condition in CONDITIONS:
        supposed = Supposed(form, condition)
        if of_all(supposed, told):
            yield supposed
