"""Wrong formulas by name, each one small change to a step of `formula.Formula`.

They are written from the formula alone, like the oracle. A wrong formula that is met with other
numbers where nothing is seen (NaN, zero, the mean) has one class for each under the same name.

Legend: B batch, T tokens, H heads, D head_dim, W = H * D.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable
from functools import cache
from typing import TypeVar

from properties.findings.names.formula import Formula
from properties.subjects.subject import FAMILIES, PROJECTED_FAMILIES

Wrong = TypeVar("Wrong", bound=type[Formula])
_entries: list[type[Formula]] = []


def wrong(
    called: str,
    look: str,
    families: Iterable[str] = PROJECTED_FAMILIES,
    *,
    alone: bool = False,
) -> Callable[[Wrong], Wrong]:
    """Enter the decorated formula: what it does, where to look for it, in which families, and whether
    it is not looked for with others.
    """
    unknown = set(families) - set(FAMILIES)
    if unknown:
        raise ValueError(f"{called}: no families {sorted(unknown)}")

    def enter(formula: Wrong) -> Wrong:
        formula.called, formula.look, formula.families = called, look, frozenset(families)
        formula.alone = alone
        _entries.append(formula)
        return formula

    return enter


@cache
def catalogue(family: str | None = None) -> tuple[type[Formula], ...]:
    """Every wrong formula, or those of one family."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return tuple(entry for entry in _entries if family is None or family in entry.families)
