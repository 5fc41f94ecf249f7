"""Functions of one axis for items and heads.

Legend: B items, H heads, T queries, S keys, D head_dim.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Folded:
    """A function of (B * H, T, D) called with (B, H, T, D): what it is told of pairs, (B, H, T, S) or less,
    becomes (B * H, T, S), and what it is told of items is repeated for every head.

    of_items: its arguments that have a row for each item.
    """

    function: Callable[..., Any]
    of_items: tuple[str, ...] = ()
    __wrapped__: Callable[..., Any] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Let its own documentation and source be found."""
        object.__setattr__(self, "__doc__", self.function.__doc__)
        object.__setattr__(self, "__wrapped__", self.function)

    def __call__(self, *parts: Tensor, **options: Any) -> Any:
        """What the function returns, with an axis of items before that of heads."""
        batch, heads, tokens, _ = parts[0].shape
        shape = batch, heads, tokens, parts[1].shape[2]
        told = {name: self.folded(name, one, shape) for name, one in options.items()}
        returned = self.function(*(part.flatten(0, 1) for part in parts), **told)
        if isinstance(returned, tuple | list):
            return tuple(self.unfolded(part, batch, heads) for part in returned)
        return self.unfolded(returned, batch, heads)

    def folded(self, name: str, told: Any, shape: tuple[int, ...]) -> Any:
        """What stands for all items and heads, with one axis for both."""
        if not isinstance(told, Tensor):
            return told
        if name in self.of_items:
            return told.repeat_interleave(shape[1], dim=0)
        if told.ndim == 1:  # a number for each head
            return told.repeat(shape[0])
        return told.expand(shape).flatten(0, 1)

    def unfolded(self, part: Any, batch: int, heads: int) -> Any:
        """(B * H, ...) -> (B, H, ...); what has no such axis stays as it is."""
        several = isinstance(part, Tensor) and part.ndim > 1 and len(part) == batch * heads
        return part.unflatten(0, (batch, heads)) if several else part
