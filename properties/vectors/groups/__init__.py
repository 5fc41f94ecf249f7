"""The vectors, a file for each area; each file of JSON is one group of them, of one set of conventions.

A number (tcId) is given once and never again: what it stands for never changes, a withdrawn one stays
unused. Sizes are prime and at most 13, but for heads that share (G times a prime) and rows that are long
on purpose. Values are read column by column: each of the first S columns takes from one key alone, with a
factor of its own, so that what is small in one column is not lost beside what is large in another.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any

import numpy as np

from properties.vectors.exact import Exact, chosen, drawn
from properties.vectors.vector import Options, Vector

FACTORS = (-7, -6, -5, -4, -3, 3, 4, 5, 6, 7)


Vectors = Callable[[], Iterable[Vector]]


@dataclass(frozen=True, eq=False)
class Group:
    """One file: what it is about, the conventions that its vectors follow, and who makes these."""

    name: str
    about: str
    align: str
    empty: str
    made_by: Vectors

    @property
    def conventions(self) -> dict[str, str]:
        """As they are written."""
        told = {"causal_diagonal": self.align, "rows_that_see_nothing": self.empty}
        return {what: answer for what, answer in told.items() if answer}

    @cached_property
    def vectors(self) -> tuple[Vector, ...]:
        """In the order of their numbers."""
        return tuple(replace(v, align=self.align, empty=self.empty) for v in self.made_by())


_groups: list[Group] = []


def group(
    name: str, about: str, *, align: str = "", empty: str = ""
) -> Callable[[Vectors], Vectors]:
    """Enter the vectors of a function as one group of these conventions."""

    def enter(vectors: Vectors) -> Vectors:
        _groups.append(Group(name, about, align, empty, vectors))
        return vectors

    return enter


@cache
def groups() -> tuple[Group, ...]:
    """All of them, by name."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return tuple(sorted(_groups, key=lambda group: group.name))


def vector(
    number: int,
    comment: str,
    *,
    B: int = 2,
    H: int = 2,
    G: int = 0,
    T: int = 3,
    S: int = 5,
    D: int = 3,
    E: int = 7,
    pick: int = 0,
    loud: float = 0.25,
    **told: Any,
) -> Vector:
    """A vector of these sizes, its numbers drawn by its own; pick: which draw, where some show more."""
    name, G = f"{number}/{pick}", G or H
    queries = drawn(f"{name}/queries", (B, H, T, D), 8, loud)
    keys = drawn(f"{name}/keys", (B, G, S, D), 8, 0.25)
    return Vector(number, comment, queries, keys, values(name, B, G, S, E), Options(**told))


def values(name: str, B: int, G: int, S: int, E: int) -> Exact:
    """(B, G, S, E): column j takes from key j alone; columns beyond S take from all."""
    every = drawn(f"{name}/values", (B, G, S, E), 8, 0.25)
    own = chosen(f"{name}/factors", (B, G, S), FACTORS, 0.25)
    numbers = every.integers.copy()
    numbers[..., : min(S, E)] = 0
    for key in range(min(S, E)):
        numbers[:, :, key, key] = own.integers[:, :, key]
    return Exact(np.asarray(numbers), 0.25)
