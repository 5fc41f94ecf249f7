"""Which wrong formulas explain a subject, and under which condition.

A formula explains it if every example that the subject gets wrong is what the formula says, within
its bounds, and if at least one of them is wrong in a number that the formula commits itself to. Where
the formula differs from attention as specified and the subject is right all the same, it waits for a
condition: one that parts the wrong examples from these is named. Where no wrong form explains the
subject by itself, two at once are tried, which must then agree with every example.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache

from properties.cases.case import Case
from properties.findings.names.catalogue import catalogue
from properties.findings.names.computed import asked
from properties.findings.names.examples import Example, When, battery, neighbours, parting
from properties.findings.names.explanation import UNKNOWN, Explanation
from properties.findings.names.formula import Formula
from properties.findings.names.pairs import fitting
from properties.subjects.subject import Subject

FEW = 3  # names that nothing tells apart; a longer list would tell nobody where to look
ALIVE = 64  # failing cases whose explanations are kept: those of a run
LONG = 130  # tokens up to which all wrong forms are tried, and above those that are right so far
ASKED = 6  # examples of a clause's own that are looked at
SUPPORT = 2  # wrong examples with general numbers that a conditional name must explain


@lru_cache(maxsize=ALIVE)
def explanations(clause: str, case: Case) -> tuple[Explanation, ...]:
    """What explains the subject of a case that fails a clause, as far as it is worth telling.

    Where all examples but those of the clause's own are right, it is these that are to be explained.
    """
    if not case.known:
        return ()
    general = examined(case.subject)
    failing = (*filter(usable, [Example(case)]), *own(clause, case))
    if all(example.right for example in general):
        general = (*general, *filter(usable, neighbours(case)))
    if all(example.right for example in general):
        return best(single, (*general, *failing), ())
    found = best(single, general, failing)
    if any(explanation.rank < UNKNOWN for explanation in found):
        return found
    return best(double, general, failing) or found


def own(clause: str, case: Case) -> list[Example]:
    """Some of the examples that a clause asked for the sake of a case."""
    examples = [Example(probe) for probe in asked(clause, case)[:ASKED]]
    return [example for example in examples if example.output is not None]


@lru_cache(maxsize=1)
def examined(subject: Subject) -> tuple[Example, ...]:
    """The examples of the battery that the subject has an output for; one run asks for no others."""
    return tuple(example for example in battery(subject) if example.output is not None)


Search = Callable[[tuple[Example, ...]], tuple[type[Formula], ...]]


def best(
    search: Search, general: tuple[Example, ...], failing: tuple[Example, ...]
) -> tuple[Explanation, ...]:
    """The best of the formulas that a search finds, held against the failing example as well."""
    wrong = [example for example in general if not example.right]
    right = [example for example in (*general, *failing) if example.right]
    off = [example for example in failing if not example.right]
    found = [
        Explanation(formula, when(formula, [*wrong, *off], right))
        for formula in (search(general) if wrong else ())
        if all(example.agrees(formula) for example in off)
    ]
    return told(found, len(wrong))


@lru_cache(maxsize=2)
def single(general: tuple[Example, ...]) -> tuple[type[Formula], ...]:
    """The formulas that agree with all examples that are wrong, and commit themselves to one."""
    wrong = sorted((e for e in general if not e.right), key=lambda e: e.case.sizes.tokens)
    reached = wrong[0].case.sizes.tokens > LONG
    return tuple(
        formula
        for formula in catalogue(wrong[0].case.subject.family)
        if not reached or formula.reaches > LONG
        if all(example.agrees(formula) for example in wrong)
        and any(example.betrays(formula) for example in wrong)
    )


@lru_cache(maxsize=2)
def double(general: tuple[Example, ...]) -> tuple[type[Formula], ...]:
    """The same for two wrong forms at once, which must agree with all examples."""
    found = fitting(catalogue(general[0].case.subject.family), general)
    wrong = [example for example in general if not example.right]
    return tuple(both for both in found if any(example.betrays(both) for example in wrong))


def usable(example: Example) -> bool:
    """Whether there is an output, and numbers that the format can hold on the way to it."""
    return example.output is not None and example.case.budget.claims


def when(
    formula: type[Formula], wrong: list[Example], right: list[Example]
) -> tuple[When, ...] | None:
    """The condition under which the formula holds: () for always, None where none is known."""
    despite = [e for e in right if formula.fits(e.case) and not e.agrees(formula)]
    return parting(wrong, despite) if despite else ()


def told(found: Iterable[Explanation], support: int) -> tuple[Explanation, ...]:
    """The best explanations, none where there are many or where they rest on too little."""
    found = [e for e in found if e.rank == 0 or support >= SUPPORT]
    best = min((e.rank for e in found), default=0)
    chosen = tuple(e for e in found if e.rank == best)
    return chosen if len(set(map(str, chosen))) <= FEW else ()
