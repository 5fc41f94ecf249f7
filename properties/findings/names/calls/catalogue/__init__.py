"""Wrong forms of a call by name, in the file of what they are wrong about.

One that is met in several variants has an entry for each under the same name.

Legend: B batch, H query heads, G key-value heads, T queries, S keys, D head_dim.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from functools import cache

from properties.findings.names.calls.form import (
    Asks,
    Derives,
    Form,
    Gives,
    nothing_else,
    the_same,
)

_entries: list[Form] = []


def asks(called: str, look: str, *roles: str, of_empty: bool = False) -> Callable[[Asks], Asks]:
    """Enter a form that answers another question, wherever one of these arguments is given."""

    def enter(change: Asks) -> Asks:
        return form(called, look, *roles, asks=change, of_empty=of_empty)

    return enter


def gives(called: str, look: str, *roles: str) -> Callable[[Gives], Gives]:
    """Enter a form that returns something else."""

    def enter(change: Gives) -> Gives:
        _entries.append(Form(called, look, roles, gives=change))
        return change

    return enter


def form(
    called: str,
    look: str,
    *roles: str,
    asks: Asks = the_same,
    gives: Gives = nothing_else,
    writes: tuple[str, ...] = (),
    of_empty: bool = False,
    slopes: Derives | None = None,
) -> Asks:
    """Enter a form."""
    _entries.append(Form(called, look, roles, asks, gives, writes, of_empty, slopes))
    return asks


@cache
def catalogue() -> tuple[Form, ...]:
    """Every wrong form."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return tuple(_entries)
