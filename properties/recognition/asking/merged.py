"""Functions of heads whose output has them merged, rows of H * E numbers for every token, or where tokens
and heads have changed places.

Legend: B items, T queries, H heads, E width of a head of values.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor


class Merged:
    """A function whose output (B, T, H * E) is split again, into what its own layout of queries is, or
    whose output of four axes is turned to that.
    """

    def __init__(self, function: Callable[..., Any], layout: str) -> None:
        """layout: "B H T D" or "B T H D"."""
        self.function, self.layout = function, layout
        self.__doc__ = function.__doc__
        self.__wrapped__ = function

    def __call__(self, query: Tensor, *others: Any, **options: Any) -> Any:
        """The output with an axis of heads; what else is returned stays as it is."""
        returned = self.function(query, *others, **options)
        several = isinstance(returned, tuple | list) and len(returned) > 0
        first = returned[0] if several else returned
        if not isinstance(first, Tensor) or first.ndim not in (3, 4):
            return returned
        merged = first.ndim == 3
        if merged:
            first = first.unflatten(-1, (query.shape[self.layout.split().index("H")], -1))
        first = first if merged and self.layout == "B T H D" else first.transpose(1, 2)
        return (first, *returned[1:]) if several else first
