"""Functions that are handed the module they serve before queries, keys and values.

Legend: B items, H heads, G heads of keys, T tokens, D head_dim.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class OfModule:
    """A function called without the module: what stands for it says how many heads read a head of keys,
    that nothing hides the future, and that it is in training, so that a probability of dropout counts.
    Scripts contain it as it is.
    """

    function: Callable[..., Any]
    __wrapped__: Callable[..., Any] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Let its own documentation and source be found."""
        object.__setattr__(self, "__doc__", self.function.__doc__)
        object.__setattr__(self, "__name__", getattr(self.function, "__name__", ""))
        object.__setattr__(self, "__wrapped__", self.function)

    def __call__(self, query: Tensor, key: Tensor, value: Tensor, **options: Any) -> Any:
        """What the function returns."""
        groups = query.shape[1] // key.shape[1]
        scale = query.shape[-1] ** -0.5
        says = {"num_key_value_groups": groups, "scaling": scale, "is_causal": False}
        says |= {"training": True}
        return self.function(type("Module", (), says), query, key, value, **options)


def of_module(function: Callable[..., Any]) -> OfModule:
    """Such a function, which says that it is called without the module."""
    made = OfModule(function)
    _, *others = inspect.signature(function).parameters.values()
    vars(made)["__signature__"] = inspect.Signature(others)
    return made
