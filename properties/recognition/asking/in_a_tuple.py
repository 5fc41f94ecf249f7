"""Functions that return a mapping or an object with the output in it, or other things before it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class InATuple:
    """A function whose result is a tuple of what its own one holds: one part first, the others in their
    order.
    """

    def __init__(self, function: Callable[..., Any], first: int = 0) -> None:
        """Keep the function, and the place of what comes first."""
        self.function, self.first = function, first
        self.__doc__ = function.__doc__
        self.__wrapped__ = function

    def __call__(self, *parts: Any, **options: Any) -> tuple[Any, ...]:
        """What a tuple or list holds, the values of a mapping, the fields of an object."""
        held = self.function(*parts, **options)
        if not isinstance(held, tuple | list):
            held = held.values() if hasattr(held, "values") else vars(held).values()
        found = list(held)
        return (found.pop(self.first), *found)
