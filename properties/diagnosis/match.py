"""Which wrong formulas explain a subject, and under which condition.

A formula explains it if every example that the subject gets wrong is what the formula says, within
its bounds, and if at least one of them is wrong in a number that the formula commits itself to. Where
the formula differs from attention as specified and the subject is right all the same, it waits for a
condition: one that parts the wrong examples from these is named.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from properties.case import Case
from properties.diagnosis.catalogue import catalogue
from properties.diagnosis.examples import CONDITIONS, Example, When, battery, neighbours
from properties.diagnosis.formula import Formula
from properties.subject import Subject

FEW = 3  # names that nothing tells apart; a longer list would tell nobody where to look
ALIVE = 64  # failing cases whose explanations are kept: those of a run
SUPPORT = 2  # wrong examples with general numbers that a conditional name must explain


@dataclass(frozen=True)
class Explanation:
    """A wrong formula that fits, and when it holds: () for always, None where no words are known."""

    formula: type[Formula]
    when: tuple[When, ...] | None

    @property
    def rank(self) -> int:
        """What always holds explains better than what holds sometimes, and known before unknown."""
        return 0 if self.when == () else 1 if self.when else 2

    def holds(self, example: Example) -> bool:
        """Whether an example meets the condition; one that is not known may hold anywhere."""
        return not self.when or any(condition.holds(example) for condition in self.when)

    def __str__(self) -> str:
        words = " or ".join(condition.words for condition in self.when or ())
        when = " in some examples" if self.when is None else f" {words}" if words else ""
        return f"{self.formula.called}{when}; look for {self.formula.look}"


def formulas(case: Case) -> list[str]:
    """The wrong formulas that explain the subject of a failing case."""
    return list(dict.fromkeys(map(str, explanations(case))))


@lru_cache(maxsize=ALIVE)
def explanations(case: Case) -> tuple[Explanation, ...]:
    """What explains the subject of a failing case, as far as it is worth telling."""
    if not case.known:
        return ()
    failing = Example(case)
    general = list(examined(case.subject))
    if all(example.right for example in general):
        general += filter(usable, neighbours(case))
    examples = [*general, *filter(usable, [failing])]
    wrong = [example for example in examples if not example.right]
    general = [example for example in general if not example.right]
    if not general:
        return ()
    found = [
        Explanation(formula, when(formula, wrong, [e for e in examples if e.right]))
        for formula in catalogue()
        if case.subject.family in formula.families
        and all(example.agrees(formula) for example in wrong)
        and any(example.betrays(formula) for example in general)
    ]
    return told(found, len(general))


@lru_cache(maxsize=1)
def examined(subject: Subject) -> tuple[Example, ...]:
    """The examples of the battery that the subject has an output for; one run asks for no others."""
    return tuple(example for example in battery(subject) if example.output is not None)


def usable(example: Example) -> bool:
    """Whether there is an output, and numbers that the format can hold on the way to it."""
    return example.output is not None and example.case.budget.claims


def when(
    formula: type[Formula], wrong: list[Example], right: list[Example]
) -> tuple[When, ...] | None:
    """The condition under which the formula holds: () for always, None where none is known."""
    despite = [e for e in right if formula.fits(e.case) and not e.agrees(formula)]
    if not despite:
        return ()
    parting = tuple(
        condition
        for condition in CONDITIONS
        if all(map(condition.holds, wrong)) and not any(map(condition.holds, despite))
    )
    return parting if 0 < len(parting) <= 2 else None


def told(found: Iterable[Explanation], support: int) -> tuple[Explanation, ...]:
    """The best explanations, none where there are many or where they rest on too little."""
    found = [e for e in found if e.rank == 0 or support >= SUPPORT]
    best = min((e.rank for e in found), default=0)
    chosen = tuple(e for e in found if e.rank == best)
    return chosen if len(set(map(str, chosen))) <= FEW else ()
