"""Functions whose keys and values have no axis of heads: one serves all queries.

Legend: B items, H heads, G heads of keys, T queries, S keys, D head_dim.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class OneKeyHead:
    """A function of (B, H, T, D) and twice (B, S, D), called with (B * H, T, D) and twice (B * G, S, D):
    each head of keys is an item of its own, whose heads are those that read it.

    of_items: its arguments that have a row for each item.
    """

    function: Callable[..., Any]
    of_items: tuple[str, ...] = ()
    __wrapped__: Callable[..., Any] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Let its own documentation and source be found."""
        object.__setattr__(self, "__doc__", self.function.__doc__)
        object.__setattr__(self, "__wrapped__", self.function)

    def __call__(self, query: Tensor, key: Tensor, value: Tensor, **options: Any) -> Any:
        """What the function returns, with one axis for items and heads."""
        items = len(key)
        heads = len(query) // max(items, 1)
        told = {name: self.parted(name, one, (items, heads)) for name, one in options.items()}
        returned = self.function(query.unflatten(0, (items, heads)), key, value, **told)
        if isinstance(returned, tuple | list):
            return tuple(self.joined(part, items) for part in returned)
        return self.joined(returned, items)

    def parted(self, name: str, told: Any, shape: tuple[int, int]) -> Any:
        """(B * H, ...) as items with heads; a row for each item where that is wanted."""
        if not isinstance(told, Tensor):
            return told
        parted = told.unflatten(0, shape)
        return parted[:, 0] if name in self.of_items else parted

    def joined(self, part: Any, items: int) -> Any:
        """The same with one axis for both."""
        several = isinstance(part, Tensor) and part.ndim > 1 and len(part) == items
        return part.flatten(0, 1) if several else part
