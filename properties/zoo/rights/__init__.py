"""Right attention by name, each written differently from `attention/` and from each other.

A verdict against one of them is a false alarm. An implementation is registered by decorating its
class, or the adapter (`Subject`) that its constructor or layout needs.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

from properties.recognition.targets import find
from properties.subjects.subject import Subject

Target = TypeVar("Target", bound=Callable[..., Any])


@dataclass(frozen=True)
class Right:
    """One right implementation: a class, a factory, a function or an adapter, and its family.

    unmet: what it SHOULD do and has a good reason not to.
    """

    name: str
    target: Callable[..., Any]
    family: str
    unmet: tuple[str, ...] = ()

    def subject(self) -> Subject:
        """What the suite asks; the family is found out and has to be the one registered."""
        (subject,) = find(self.target)
        if subject.family != self.family:
            raise ValueError(f"{self.name} is found to be {subject.family}, not {self.family}")
        subject.name = self.name
        return subject


_registry: dict[str, Right] = {}


def right(
    name: str, family: str = "multihead", *, unmet: tuple[str, ...] = ()
) -> Callable[[Target], Target]:
    """Register the decorated implementation under a name that says how it is written."""
    if name in _registry:
        raise ValueError(f"{name} is registered twice")

    def register(target: Target) -> Target:
        _registry[name] = Right(name, target, family, unmet)
        return target

    return register


@cache
def rights() -> dict[str, Right]:
    """Every right implementation by name."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return dict(_registry)
