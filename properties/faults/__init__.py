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
from typing import TypeVar

from torch import nn

Module = TypeVar("Module", bound=type[nn.Module])


@dataclass(frozen=True)
class Fault:
    """One wrong implementation.

    family: what it claims to be; breaks: clauses that must fail on it; symptom: what a user sees;
    apart: why a report tells it as more than one finding, "" where it is one.
    """

    name: str
    module: type[nn.Module]
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
) -> Callable[[Module], Module]:
    """Register the decorated class as a fault."""
    if name in _registry:
        raise ValueError(f"fault {name} is registered twice")

    def register(module: Module) -> Module:
        _registry[name] = Fault(name, module, family, breaks, symptom, source, apart)
        return module

    return register


@cache
def faults() -> dict[str, Fault]:
    """Every fault by name."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return dict(_registry)
