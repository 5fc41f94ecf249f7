"""Which wrong cache explains a failure: it gives what the subject gives, whatever it is fed.

A cache is told if it agrees with every answer of the subject to some histories: sequences that are fed
in parts, one after the other, a call between. And a subject that has it must break the clause.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np

from properties.basics.dtypes import Array
from properties.basics.errors import OutsideError, SubjectError
from properties.cases.case import Case
from properties.cases.steps import Steps, chunks, splits
from properties.cases.strategies import PLAIN_SIZES, coincide, make_case
from properties.findings.names import instead
from properties.findings.names.caches.forms import CATALOGUE
from properties.findings.names.caches.memory import Memory
from properties.findings.names.caches.standin import Supposing, given
from properties.subjects.subject import Subject

AREA = "cache"
FEW = 3  # names that nothing tells apart
BEGIN, ALONE, FORK = "begin", "alone", "fork"
Event = tuple[str, Any]


@dataclass(eq=False)
class History:
    """What a module is given, in order: a new sequence, the next tokens, a call without the cache, or
    tokens that go on from an earlier past; and its answers, as far as it gave any.
    """

    case: Case
    events: list[Event]
    answers: list[Array] = field(default_factory=list)

    def ask(self) -> None:
        """Note the subject's answers until it raises."""
        try:
            steps = Steps(self.case)
            state, states = None, list[Any]()
            for kind, told in self.events:
                if kind == BEGIN:
                    state, states = steps.begin(self.case.sizes.batch), []
                elif kind == ALONE:
                    self.answers.append(steps.alone(told))
                else:
                    state = states[0] if kind == FORK else state
                    output, state = steps.step(state, told)
                    states.append(state)
                    self.answers.append(output)
        except (SubjectError, OutsideError):
            return

    def agrees(self, form: type[Memory]) -> bool:
        """Whether every answer is what the form gives, within its bounds."""
        with np.errstate(all="ignore"):
            return all(
                bool((np.abs(answer - output) <= allowed).all())
                for answer, (output, allowed) in zip(
                    self.answers, self.supposed(form), strict=False
                )
            )

    def supposed(self, form: type[Memory]) -> Iterator[tuple[Array, Array]]:
        """What the form gives, and its bounds."""
        memory = form(self.case.sizes.context_length)
        callers = self.case.subject.has("cache of the caller")
        states: list[Memory] = []
        for kind, told in self.events:
            if kind == BEGIN:
                memory.begin()
                states = []
            elif kind == ALONE:
                yield given(told, memory.alone(told), self.case)
            else:
                memory = states[0] if kind == FORK else memory
                memory = memory.fork() if callers else memory
                states.append(memory)
                yield given(told, memory.step(told), self.case)


def histories(subject: Subject) -> Iterator[History]:
    """Five tokens of two items in parts; the same after another sequence; with a call between."""
    sizes = coincide(replace(PLAIN_SIZES, heads=2), "all different", subject)
    case = make_case(subject, sizes, subject.cached_in[0], "ordinary", True, 0.5, 1, seed=3)
    tokens, x, other = case.sizes.tokens, case.x, case.other

    def fed(sequence: Array, lengths: list[int]) -> list[Event]:
        return [(BEGIN, None), *(("step", part) for part in chunks(sequence, lengths))]

    for lengths in ([1] * tokens, *splits(tokens, 1), [tokens]):
        yield History(case, fed(x, lengths))
    if subject.has("reset cache"):
        yield History(case, fed(other, [1] * tokens) + fed(x[:, :3], [1, 1, 1]))
        yield History(case, fed(other, [tokens]) + fed(x, [2, tokens - 2]))
    yield History(case, [*fed(other, [2, tokens - 2]), (ALONE, x)])
    yield History(case, [(ALONE, x), *fed(x, [2, tokens - 2])])
    if subject.has("cache of the caller"):
        yield History(case, [*fed(x, [2, tokens - 2]), (FORK, other[:, 2:]), (FORK, x[:, 2:])])


@lru_cache(maxsize=2)
def fitting(subject: Subject) -> tuple[type[Memory], ...]:
    """The wrong caches that agree with every history, of which one at least is not right."""
    asked = list(histories(subject))
    for history in asked:
        history.ask()
    wrong = [history for history in asked if not history.agrees(Memory)]
    if not wrong:
        return ()
    ordered = [*wrong, *(history for history in asked if history not in wrong)]
    return tuple(form for form in CATALOGUE if all(history.agrees(form) for history in ordered))


def named(clause: str, case: Case) -> list[str]:
    """What the subject's cache behaves like, as far as that explains why a clause fails."""
    if not case.subject.has("cache") or case.weights is None:
        return []
    found = [form for form in fitting(case.subject) if breaks(form, clause, case)]
    names = list(dict.fromkeys(map(told, found)))
    return names if len(names) <= FEW else []


def explains(name: str, clause: str, case: Case) -> bool | None:
    """Whether a cache of this name breaks a clause on a case; None: unknown."""
    answers = [breaks(form, clause, case) for form in fitting(case.subject) if told(form) == name]
    if True in answers:
        return True
    return None if not answers or None in answers else False


def told(form: type[Memory]) -> str:
    """The name and where to look."""
    return f"{form.called}; look for {form.look}"


def breaks(form: type[Memory], clause: str, case: Case) -> bool | None:
    """Whether a subject with such a cache breaks a clause that one with a right cache does not break."""
    return instead.breaks(clause, case, Supposing(case, form), Supposing(case, Memory))
