"""The parameters that a function or a module's forward is called with."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import lru_cache
from inspect import Parameter
from types import MethodType
from typing import Any


def parameters_of(function: Callable[..., Any]) -> tuple[Parameter, ...]:
    """Those that it is called with; TypeError or ValueError where it does not say.

    Every module that is built is asked, and the method is that of its class, which is read once.
    """
    if isinstance(function, MethodType):
        return parameters_of_method(function.__func__)
    return tuple(inspect.signature(function).parameters.values())


@lru_cache(maxsize=256)
def parameters_of_method(function: Callable[..., Any]) -> tuple[Parameter, ...]:
    """The same of a function that is bound to an object of whatever kind."""
    return tuple(inspect.signature(MethodType(function, object())).parameters.values())
