"""What a forward requires and might have a default for: the index of its layer, a causal flag, a past."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from dataclasses import dataclass
from inspect import Parameter
from typing import Any

from torch import nn

from properties.recognition.adapters.spellings import argument_role
from properties.recognition.asking import cache_finding
from properties.recognition.asking.roles import role


@dataclass(frozen=True)
class GivenValues:
    """A hook before forward: these values in the arguments of these names, where nothing is given. Scripts
    contain it as it is.
    """

    values: tuple[tuple[str, int | None], ...]

    def __call__(
        self, module: nn.Module, given: tuple[Any, ...], named: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments with these values."""
        bound = inspect.signature(module.forward).bind_partial(*given, **named).arguments
        return given, named | {name: value for name, value in self.values if name not in bound}


def with_values(module: nn.Module, values: GivenValues) -> nn.Module:
    """The module, told these values where it is told nothing."""
    module.register_forward_pre_hook(values, with_kwargs=True)
    return module


def values_of(module: nn.Module) -> tuple[str, ...]:
    """The names of the arguments in which a module is given values."""
    hooks = module._forward_pre_hooks.values()
    return next(
        (tuple(n for n, _ in hook.values) for hook in hooks if isinstance(hook, GivenValues)), ()
    )


def needed(module: nn.Module, required: Iterable[str]) -> GivenValues | None:
    """The first layer, nothing hidden and no past, as far as forward requires them; None for none of it."""
    parameters = inspect.signature(module.forward).parameters
    found: dict[str, int | None] = {}
    for name in required:
        if argument_role(name) == "layer":
            found[name] = 0
        elif role(name) == "causal" and is_flag(parameters[name]):
            found[name] = False
        elif cache_finding.PAST.fullmatch(name.lower()):
            found[name] = None
    return GivenValues(tuple(found.items())) if found else None


def is_flag(parameter: Parameter) -> bool:
    """Whether an argument is True or False, and no mask that is called so."""
    return "mask" not in parameter.name or "bool" in str(parameter.annotation)


def words(values: GivenValues) -> dict[str, str]:
    """What each of these arguments is told where nothing is asked of it."""
    return {name: f"it is {value}" for name, value in values.values}
