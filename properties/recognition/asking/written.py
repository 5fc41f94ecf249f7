"""Functions that write their output into a tensor that they are handed.

Legend: B items, H heads, T queries, E width of a head of values.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

NAME = re.compile(r"(o|out|output|outputs|result|dst)(_?(tensor|buf|buffer|ptr))?", re.IGNORECASE)


class Written:
    """A function that is handed a tensor for its output, filled with infinity: what it leaves of that, or
    adds to, is seen.

    name: the argument; first: whether it stands before queries, keys and values.
    """

    def __init__(self, function: Callable[..., Any], name: str, first: bool) -> None:
        """Keep the function's documentation."""
        self.function, self.name, self.first = function, name, first
        self.__doc__ = function.__doc__
        self.__wrapped__ = function

    def __call__(self, query: Tensor, key: Tensor, value: Tensor, **options: Any) -> Any:
        """The output (B, H, T, E), on the axes of the queries, and what else is returned behind it."""
        out = query.new_full((*query.shape[:-1], value.shape[-1]), float("inf"))
        if self.first:
            returned = self.function(out, query, key, value, **options)
        else:
            returned = self.function(query, key, value, **{self.name: out}, **options)
        parts = returned if isinstance(returned, tuple | list) else [returned]
        others = [part for part in parts if part is not None and not self.is_output(part, out)]
        return (out, *others) if others else out

    def is_output(self, part: Any, out: Tensor) -> bool:
        """Whether what is returned is the output itself, or a copy of it."""
        if part is out or not isinstance(part, Tensor) or part.shape != out.shape:
            return part is out
        return torch.allclose(part, out, rtol=0.0, atol=0.0, equal_nan=True)


def output_among(required: Iterable[str]) -> str:
    """The argument for the output among those that a function requires; "" where there is none."""
    return next(filter(NAME.fullmatch, required), "")
