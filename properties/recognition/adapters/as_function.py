"""Modules that weigh queries, keys and values and have no parameters: asked as functions are."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from inspect import Parameter
from typing import Any

from torch import nn

from properties.recognition.adapters import calls, families, qkv_function
from properties.recognition.adapters.blueprint import Blueprint
from properties.recognition.adapters.function_shell import Function
from properties.recognition.adapters.spellings import argument_role
from properties.recognition.asking.as_function import AsFunction
from properties.recognition.asking.roles import role, scales
from properties.subjects.instance import in_eval
from properties.subjects.subject import Config
from properties.truth.parameters import Sizes

WIDTHS = (4, 16)
LONG = 4096
"""How many tokens a module has room for that has to be told."""
SHOWN = ("dropout", "causal", "scale", "cap", "window")
SCALARS = (int, float, bool, str, type(None))


def as_function(module: nn.Module, blueprint: Blueprint) -> Function | None:
    """Such a module as a function; None for one with parameters or without queries, keys and values."""
    inner = calls.inside(module)
    call = calls.of_forward(inner)
    if call is None or not call.tokens or families.has_parameters(inner):
        return None
    forward = in_eval(inner).forward
    function = made_for_widths(blueprint, forward) or MadeByBlueprint(blueprint, forward)
    return qkv_function.understand(function, blueprint.owner)


class MadeByBlueprint:
    """The same of a class whose constructor takes settings in an object: no script can make one."""

    def __init__(self, blueprint: Blueprint, forward: Callable[..., Any]) -> None:
        """Look like the forward of its modules."""
        self.blueprint = blueprint
        self.__doc__, self.__wrapped__ = forward.__doc__, forward
        self.made: dict[Any, nn.Module] = {}

    def __getstate__(self) -> dict[str, Any]:
        """A copy makes modules of its own, see `AsFunction`."""
        return {**vars(self), "made": {}}

    def __call__(self, *parts: Any, **options: Any) -> Any:
        """What a module for heads of this width returns."""
        key = parts[0].shape[-1], parts[0].dtype
        if key not in self.made:
            module = self.blueprint.construct(request(key[0]), "self")
            self.made[key] = in_eval(calls.inside(module)).to(key[1])
        return self.made[key](*parts, **options)


def request(width: int) -> Config:
    """One head of this width."""
    return Config(Sizes(1, 3, width, 1, width, LONG))


def made_for_widths(blueprint: Blueprint, forward: Callable[..., Any]) -> AsFunction | None:
    """One that makes a module for each width of a head, and can be told what its constructor can; None
    where that takes more than plain values.
    """
    named = parameters_by_name(forward)
    bare = getattr(blueprint.target, "__init__", None) is nn.Module.__init__
    made = {} if bare else parameters_by_name(blueprint.target)
    if named is None or made is None:
        return None
    shown = {n: what for n, p in made.items() if n not in named and (what := shown_as(p))}
    told = told_by_width(blueprint, shown)
    long = blueprint.arguments.roles.get("context_length")
    if told and long in told and not needed(made[long]):
        told[long] = made[long].default
    if told is None or any(n not in told for n, p in made.items() if needed(p) and n not in shown):
        return None
    function = AsFunction(blueprint.target, told, shown)
    function.__doc__ = forward.__doc__
    options = [made[name].replace(kind=Parameter.KEYWORD_ONLY) for name in shown]
    vars(function)["__signature__"] = inspect.Signature([*named.values(), *options])
    return function


def parameters_by_name(function: Callable[..., Any]) -> dict[str, Parameter] | None:
    """What it is called with; None where it does not say, or takes any."""
    try:
        found = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return None
    open_ended = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
    return None if any(p.kind in open_ended for p in found.values()) else dict(found)


def needed(parameter: Parameter) -> bool:
    """Whether it has no default."""
    return parameter.default is Parameter.empty


def shown_as(parameter: Parameter) -> str:
    """What a call can be told by an argument of the constructor; "" for what it cannot."""
    known = role(parameter.name) or argument_role(parameter.name)
    if needed(parameter) and scales(parameter.name):
        return "scale"
    return known if known in SHOWN and not (known == "scale" and parameter.default is True) else ""


def told_by_width(blueprint: Blueprint, shown: dict[str, str]) -> dict[str, Any] | None:
    """The other arguments; None where they are not plain values, or depend on more than the width."""
    few, many = (blueprint.arguments.values(request(width), "self") for width in WIDTHS)
    told: dict[str, Any] = {}
    for name, value in few.items():
        if name in shown:
            continue
        if (value, many[name]) == WIDTHS:
            told[name] = "head_dim"
        elif type(value) in SCALARS and value == many[name]:
            told[name] = value
        else:
            return None
    return told
