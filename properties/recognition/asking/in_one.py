"""Functions of queries, keys and values in one tensor, or of keys and values in one.

Legend: B items, T tokens, H heads, D head_dim, N tokens of all documents.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from inspect import Parameter
from typing import Any

import torch
from torch import Tensor

OWN = [Parameter(name, Parameter.POSITIONAL_OR_KEYWORD) for name in ("query", "key", "value")]
AXES = (-3, -4, -5)
"""Where the axis of the parts may lie: (B, T, 3, H, D), which is also (N, 3, H, D), (B, 3, H, T, D) and
(3, B, H, T, D)."""


@dataclass(frozen=True)
class InOne:
    """A function called with queries, keys and values, which puts the last of them into one tensor.

    parts: 3 for all, 2 for keys and values; axis: where they lie in it. Scripts contain it as it is.
    """

    function: Callable[..., Any]
    parts: int
    axis: int
    __wrapped__: Callable[..., Any] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Let its own documentation and source be found."""
        object.__setattr__(self, "__doc__", self.function.__doc__)
        object.__setattr__(self, "__name__", getattr(self.function, "__name__", ""))
        object.__setattr__(self, "__wrapped__", self.function)

    def __call__(self, *given: Tensor, **options: Any) -> Any:
        """What the function returns."""
        apart, joined = given[: 3 - self.parts], torch.stack(given[3 - self.parts :], self.axis)
        return self.function(*apart, joined, **options)


def in_one(function: Callable[..., Any], parts: int, axis: int) -> InOne:
    """Such a function, which says that it is called with three tensors."""
    made = InOne(function, parts, axis)
    _, *others = inspect.signature(function).parameters.values()
    vars(made)["__signature__"] = inspect.Signature([*OWN, *others[3 - parts :]])
    return made
