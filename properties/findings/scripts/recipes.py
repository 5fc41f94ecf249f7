"""Scripts for what a plain call and its numbers cannot show, each for the clauses that it names."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from functools import cache

from properties.cases.case import Case
from properties.findings.recording import Tape
from properties.findings.scripts.script import Script

Recipe = Callable[[Case, Tape], Iterator[Script]]
_registry: dict[str, Recipe] = {}


def recipe(*clauses: str) -> Callable[[Recipe], Recipe]:
    """Register the decorated function as the one that writes scripts for these clauses."""

    def register(function: Recipe) -> Recipe:
        _registry.update(dict.fromkeys(clauses, function))
        return function

    return register


@cache
def recipes() -> dict[str, Recipe]:
    """Every recipe, by clause."""
    package = importlib.import_module("properties.findings.scripts")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
    return dict(_registry)
