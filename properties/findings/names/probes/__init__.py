"""What is wrong besides the formula, by name: each name has a probe of its own that can also say no.

A probe asks an instance of the failing case something that only the fault it is named after answers
so, and is told beside the laws that such a fault breaks. What a subject raises is no answer.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np

from properties.basics.dtypes import Array
from properties.basics.errors import SubjectError
from properties.cases import budgets
from properties.cases.case import Case
from properties.findings.names.examples import GENERIC, like, made

Question = Callable[[Case], bool]


@dataclass(frozen=True)
class Probe:
    """A name, where to look, the laws that it explains, and the question that tells it."""

    called: str
    look: str
    clauses: frozenset[str]
    asks: Question

    def holds(self, case: Case) -> bool:
        """Whether the subject of a case answers so."""
        try:
            with np.errstate(all="ignore"):
                return self.asks(case)
        except SubjectError:
            return False

    def __str__(self) -> str:
        return f"{self.called}; look for {self.look}"


_entries: list[Probe] = []


def probe(called: str, look: str, clauses: frozenset[str]) -> Callable[[Question], Question]:
    """Enter the decorated question."""

    def enter(asks: Question) -> Question:
        _entries.append(Probe(called, look, clauses, asks))
        return asks

    return enter


@cache
def probes() -> tuple[Probe, ...]:
    """Every name with its question."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return tuple(_entries)


@lru_cache(maxsize=64)
def probed(clause: str, case: Case) -> tuple[str, ...]:
    """The names, each with where to look, of the probes that explain why a case fails a clause.

    A case that was made small may have no numbers left but zeros, of which too much is true; so what
    is told holds for ordinary numbers of its sizes as well.
    """
    general = like(case, case.sizes, 0)
    return tuple(
        str(each)
        for each in probes()
        if clause in each.clauses and each.holds(case) and each.holds(general)
    )


def ordinary(case: Case) -> Case:
    """General numbers of several tokens and heads, for what a case that was made small cannot show."""
    return made(case.subject, GENERIC[0], case.bias, 0)


def equal(a: Array, b: Array) -> bool:
    """Whether two outputs are the same numbers."""
    return a.shape == b.shape and bool(np.array_equal(a, b, equal_nan=True))


def alike(case: Case, a: Array, b: Array) -> bool:
    """Whether two outputs of a case's input are the same up to rounding."""
    allowed = budgets.difference(case)
    return a.shape == b.shape == allowed.shape and bool((np.abs(a - b) <= allowed).all())
