"""Adapters: how an implementation's parameters carry ours. One file for each ecosystem.

A module in this package that has `SERVES`, the import paths of the objects it is for, and
`subject(target, family)` is an adapter: it is found here, no list is edited. It must not import the
foreign library to be found. What no adapter serves is understood by its names (`torch_module`,
`qkv_function`).
"""

from __future__ import annotations

import inspect
import pkgutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import cache
from importlib import import_module
from types import MappingProxyType, ModuleType
from typing import Any

from properties.basics.errors import QuestionError
from properties.recognition.adapters import (
    crossing,
    held_matrices,
    other_inputs,
    plain_function,
    qkv_function,
    torch_module,
    trials,
)
from properties.recognition.adapters.held_matrices import HoldingMatrices
from properties.recognition.asking import on_device
from properties.recognition.asking.nested import Nested
from properties.recognition.asking.on_device import OnDevice
from properties.recognition.foreign import finding
from properties.recognition.foreign.classes import subject as classes
from properties.subjects.instance import in_format
from properties.subjects.subject import Subject


@cache
def adapters() -> tuple[ModuleType, ...]:
    """The adapter modules of this package."""
    modules = [
        import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__)
    ]
    return tuple(module for module in modules if hasattr(module, "SERVES"))


def adapter_for(target: object) -> ModuleType | None:
    """The adapter that serves this very object, or None."""
    for adapter in adapters():
        if any(served is target for path in adapter.SERVES for served in loaded(path)):
            return adapter
    return None


def loaded(path: str) -> Iterator[object]:
    """The object at an import path, if its module is already loaded."""
    module, _, name = path.rpartition(".")
    if module in sys.modules and hasattr(sys.modules[module], name):
        yield getattr(sys.modules[module], name)


def subject_for(
    target: Callable[..., Any],
    family: str | None = None,
    given: Mapping[str, Any] = MappingProxyType({}),
) -> Subject:
    """The subject that a class, a factory or a function of tensors is.

    given: values by name for what a constructor is told and has no known meaning.

    Raises QuestionError where it cannot be asked; the message says why and what to do.
    """
    adapter = adapter_for(target)
    if adapter is not None:
        subject: Subject = adapter.subject(target, family)
        return subject
    if inspect.isclass(target):
        return of_class(target, family, given)
    if (factory := held_matrices.holding(target)) is not None:
        return of_matrices(factory, family, given)
    target = other_inputs.with_three(target)
    if qkv_function.serves(target):
        arrays = qkv_function.tensors_of(target)
        return with_arrays(target, arrays, lambda function: of_qkv(function, family))
    if plain_function.is_plain(target):
        return with_arrays(target, 1, lambda function: of_x(function, family))
    other_inputs.require_three(target)
    return of_class(target, family, given)


def of_class(target: Callable[..., Any], family: str | None, given: Mapping[str, Any]) -> Subject:
    """The subject of a class or factory of modules, torch's or another library's."""
    original = classes.original_of(target)
    if original is None:
        return torch_module.subject(target, family, given)
    return classes.subject(original, family, given)


def of_matrices(factory: HoldingMatrices, family: str | None, given: Mapping[str, Any]) -> Subject:
    """The subject of a function of tokens and matrices, be it in another library's arrays."""
    subject = torch_module.subject(factory, family, given)
    names = ", ".join(factory.held)
    subject.notes = (*subject.notes, f"{names} are held by a module, which is ours")
    x = trials.random_input(3, 5, 8)
    module = factory(**dict.fromkeys(inspect.signature(factory).parameters, 8))
    crossing.cross(subject, factory.function, lambda x: in_format(module, x.dtype)(x), [x])
    return subject


def of_qkv(function: Callable[..., Any], family: str | None) -> Subject:
    """The subject of a function of queries, keys and values."""
    return qkv_function.subject(qkv_function.understand(function, name_of(function)), family)


def of_x(function: Callable[..., Any], family: str | None) -> Subject:
    """The subject of a function of tokens alone."""
    return plain_function.plain(function, name_of(function), family)


def name_of(function: Callable[..., Any]) -> str:
    """What a function is called."""
    return str(getattr(function, "__name__", type(function).__name__))


def with_arrays(
    target: Callable[..., Any], inputs: int, made: Callable[[Callable[..., Any]], Subject]
) -> Subject:
    """The subject of a function of tensors, or of another library's arrays where it takes these.

    inputs: how many arrays it needs; made: gives the subject of a function of tensors.
    """
    bridge = finding.bridged(target, inputs)
    if bridge is not None:
        return made(bridge)
    try:
        return made(target)
    except QuestionError:
        if on_device.there_is_one():
            with suppress(QuestionError):  # the refusal on the CPU says more
                return made(OnDevice(target, on_device.DEVICE))
        bridge = finding.tried(target, inputs)
        if bridge is None and inputs > 1:
            with suppress(QuestionError):
                return made(Nested(target))
        if bridge is None:
            raise
    return made(bridge)
