"""Functions of Python's lists: of rows of numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Nested:
    """A function of nested lists of numbers, called with tensors. What it returns is rounded to the format
    of its queries, and has no gradient.
    """

    function: Callable[..., Any]
    __wrapped__: Callable[..., Any] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Let its own documentation and source be found."""
        object.__setattr__(self, "__doc__", self.function.__doc__)
        object.__setattr__(self, "__name__", getattr(self.function, "__name__", ""))
        object.__setattr__(self, "__wrapped__", self.function)

    def __call__(self, *parts: Tensor, **options: Any) -> Any:
        """What the function returns: a tensor, or a tuple of such."""
        told = {name: self.listed(one) for name, one in options.items()}
        returned = self.function(*(self.listed(part) for part in parts), **told)
        if isinstance(returned, tuple):
            return tuple(self.tensor(part, parts[0]) for part in returned)
        return self.tensor(returned, parts[0])

    def listed(self, part: Any) -> Any:
        """A tensor as lists."""
        return part.tolist() if isinstance(part, Tensor) else part

    def tensor(self, part: Any, like: Tensor) -> Any:
        """Lists of numbers as a tensor."""
        return torch.tensor(part, dtype=like.dtype) if isinstance(part, list) else part
