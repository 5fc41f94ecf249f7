"""Functions that return a mapping or an object with the output in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class InATuple:
    """A function whose result is a tuple of what its own one holds, in the same order."""

    def __init__(self, function: Callable[..., Any]) -> None:
        """Keep the function."""
        self.function = function
        self.__doc__ = function.__doc__
        self.__wrapped__ = function

    def __call__(self, *parts: Any, **options: Any) -> tuple[Any, ...]:
        """The values of a mapping, the fields of an object."""
        returned = self.function(*parts, **options)
        return tuple(returned.values() if hasattr(returned, "values") else vars(returned).values())
