"""Functions of one sequence.

Legend: B items, H heads, T queries, S keys, D head_dim.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class OneByOne:
    """A function of (T, H, D) called with (B, T, H, D), or one of (T, D) with (B, T, D), for one item after
    the other. What it is told of pairs, (B, H, T, S) or (B, T, S) or less, becomes that of its item.

    heads: whether there is an axis of heads; of_items: its arguments that have a row for each item.
    """

    function: Callable[..., Any]
    heads: bool = True
    of_items: tuple[str, ...] = ()
    __wrapped__: Callable[..., Any] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Let its own documentation and source be found."""
        object.__setattr__(self, "__doc__", self.function.__doc__)
        object.__setattr__(self, "__wrapped__", self.function)

    def __call__(self, *parts: Tensor, **options: Any) -> Any:
        """What the function returns for all items; the first thing of several that are no tensors."""
        batch, tokens, *others = parts[0].shape
        shape = batch, *others[:-1], tokens, parts[1].shape[1]
        if batch == 0:  # nothing to call it with
            return parts[0].new_empty(*parts[0].shape[:-1], parts[2].shape[-1])
        found = []
        for item in range(batch):
            told = {name: self.of_one(item, name, one, shape) for name, one in options.items()}
            found.append(self.function(*(part[item] for part in parts), **told))
        return self.together(found)

    def of_one(self, item: int, name: str, told: Any, shape: tuple[int, ...]) -> Any:
        """What stands for all items, as that of one."""
        if not isinstance(told, Tensor):
            return told
        if name in self.of_items or (told.ndim == 1 and not self.heads):
            return told[item]
        return told if told.ndim == 1 else told.expand(shape)[item]

    def together(self, found: list[Any]) -> Any:
        """One tensor of those of all items, or a tuple of such tensors."""
        if all(isinstance(one, Tensor) for one in found):
            return torch.stack(found)
        if all(isinstance(one, tuple | list) for one in found):
            return tuple(self.together(list(parts)) for parts in zip(*found, strict=True))
        return found[0]
