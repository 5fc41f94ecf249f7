"""Wrong implementations by name, each one small change to a plain module. They test the suite.

A fault is registered by decorating its class; it names the clauses that must see it, what a user
would notice, and where it was found. "constructed" marks a fault with no public source.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

Target = TypeVar("Target", bound=Callable[..., Any])


@dataclass(frozen=True)
class Fault:
    """One wrong implementation.

    module: a class of modules, or a function of queries, keys and values; family: what it claims to
    be; breaks: clauses that must fail on it; symptom: what a user sees; apart: why a report tells it
    as more than one finding, "" where it is one.
    """

    name: str
    module: Callable[..., Any]
    family: str
    breaks: tuple[str, ...]
    symptom: str
    source: str
    apart: str = ""


_registry: dict[str, Fault] = {}


def fault(
    name: str,
    *breaks: str,
    symptom: str,
    source: str = "constructed",
    family: str = "multihead",
    apart: str = "",
) -> Callable[[Target], Target]:
    """Register the decorated class or function as a fault."""
    if name in _registry:
        raise ValueError(f"fault {name} is registered twice")

    def register(module: Target) -> Target:
        _registry[name] = Fault(name, module, family, breaks, symptom, source, apart)
        return module

    return register


@cache
def faults() -> dict[str, Fault]:
    """Every fault by name."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return dict(_registry)
