"""What each known fault would give for a vector.

`catalogue` takes the wrong forms by which calls are named elsewhere; the other files hold steps that no
call of a function is named by there: turns, caches, dropout, layouts, softmax over another axis.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np

from properties.vectors.call import Call, Parts
from properties.vectors.vector import Vector

Gives = Callable[[Vector], "Call | Parts | None"]


@dataclass(frozen=True, eq=False)
class Step:
    """called: the name of the fault; gives: what is computed in place of a vector's call, None where the
    fault does not concern it.
    """

    called: str
    gives: Gives


_steps: list[Step] = []


def step(called: str) -> Callable[[Gives], Gives]:
    """Enter a wrong step."""

    def enter(gives: Gives) -> Gives:
        _steps.append(Step(called, gives))
        return gives

    return enter


@cache
def steps() -> tuple[Step, ...]:
    """Every wrong step that is entered in a file of this folder, whichever file was imported first."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return tuple(sorted(_steps, key=lambda step: step.gives.__module__))


def wrong_ones(vector: Vector) -> Iterator[tuple[str, Parts]]:
    """The name of each fault that concerns a vector, and what it would give."""
    from properties.vectors.wrong.catalogue import of_catalogue

    with np.errstate(all="ignore"):
        yield from of_catalogue(vector)
        for one in steps():
            given = one.gives(vector)
            if given is not None:
                yield one.called, given.parts if isinstance(given, Call) else given
