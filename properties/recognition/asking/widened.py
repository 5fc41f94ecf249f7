"""Functions whose window has a limit by default, or has to be told."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from properties.recognition.asking.roles import role

WIDE = 2**14  # more than the tokens of any example


class Widened:
    """A function that is told a window without an end where it is told none, in place of its default."""

    def __init__(self, function: Callable[..., Any], name: str, wide: Any) -> None:
        """name: the argument; wide: what is handed over."""
        self.function, self.name, self.wide = function, name, wide
        self.__doc__ = function.__doc__
        self.__wrapped__ = function

    def __call__(self, *parts: Any, **options: Any) -> Any:
        """What the function returns."""
        return self.function(*parts, **{self.name: self.wide, **options})


def widened(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, so called if its argument for a window has a number as default, or none; one that does
    not say what its arguments are, as a builtin, stays as it is.
    """
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return function
    for name, parameter in parameters.items():
        default = parameter.default
        sides = default if isinstance(default, tuple) else (default,)
        limited = [side for side in sides if type(side) is int and side > 0]
        if role(name) == "window" and (limited or default is inspect.Parameter.empty):
            return Widened(function, name, (WIDE,) * len(sides) if sides is default else WIDE)
    return function
