"""Functions whose tensors begin with the tokens.

Legend: B items, T tokens, H heads, D head_dim.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class TokensFirst:
    """A function of (T, B, H, D), or of (T, B, H * D), called with items first, and whose output has them
    first. What else it returns stays as it is.
    """

    function: Callable[..., Any]
    __wrapped__: Callable[..., Any] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Let its own documentation and source be found."""
        object.__setattr__(self, "__doc__", self.function.__doc__)
        object.__setattr__(self, "__wrapped__", self.function)

    def __call__(self, *parts: Tensor, **options: Any) -> Any:
        """What the function returns."""
        returned = self.function(*(part.transpose(0, 1) for part in parts), **options)
        several = isinstance(returned, tuple | list) and len(returned) > 0
        first = returned[0] if several else returned
        if not isinstance(first, Tensor) or first.ndim < 3:
            return returned
        return (first.transpose(0, 1), *returned[1:]) if several else first.transpose(0, 1)
