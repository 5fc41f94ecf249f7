"""Functions of fewer than four axes, called as functions of items and heads.

Legend: B items, H heads, T queries, S keys, D head_dim.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class Folded:
    """f((B, H, T, D), (B, H, S, D) twice) of a function of (B*H, T, D), of (T, H, D), which is called for
    one item after the other, or of (T, D), for one head of one item after the other. What it is told
    besides is cut likewise: masks (B, H, T, S), numbers of heads (H,), and what is of items (B, ...).

    layout: "B*H T D", "T H D" or "T D"; pairs: its arguments for masks and biases, which have four axes.
    """

    def __init__(self, function: Callable[..., Any], layout: str, pairs: tuple[str, ...]) -> None:
        """Keep the function's documentation."""
        self.function, self.layout, self.pairs = function, layout, pairs
        self.__doc__ = function.__doc__
        self.__wrapped__ = function

    def __call__(self, query: Tensor, key: Tensor, value: Tensor, **options: Any) -> Any:
        """The output (B, H, T, D); what else is returned has axes of items and heads as well."""
        items, heads = query.shape[:2]
        parts = [self.cut(part) for part in (query, key, value)]
        told = {name: self.told(name, option, items, heads) for name, option in options.items()}
        if items == 0:  # nothing to call it with
            return query.new_empty(*query.shape[:-1], value.shape[-1])
        if self.layout == "B*H T D":
            returned = self.function(*parts, **told)
        else:
            returned = self.together([self.alone(n, parts, told) for n in range(len(parts[0]))])
        if isinstance(returned, Tensor):
            return self.back(returned, items, heads, output=True)
        if not isinstance(returned, tuple | list):
            return returned
        return tuple(self.back(p, items, heads, output=n == 0) for n, p in enumerate(returned))

    def cut(self, part: Tensor) -> Tensor:
        """(B, H, T, D) -> (B*H, T, D), or (B, T, H, D)."""
        return part.transpose(1, 2) if self.layout == "T H D" else part.flatten(0, 1)

    def told(self, name: str, option: Any, items: int, heads: int) -> Any:
        """An argument with one axis for items and heads, or for items where heads stay together."""
        if not isinstance(option, Tensor) or option.ndim == 0:
            return option
        if name in self.pairs and option.ndim != 4:
            raise ValueError(
                f"{name} has {option.ndim} axes: the suite cuts one of four, (B, H, T, S)"
            )
        together = self.layout == "T H D"
        if option.ndim == 4 or (option.ndim == 1 and option.is_floating_point()):
            own = option.shape[2:] if option.ndim == 4 else ()
            whole = option.expand(items, heads, *own)
            return whole if together else whole.flatten(0, 1)
        return option if together else option.repeat_interleave(heads, dim=0)

    def alone(self, place: int, parts: list[Tensor], told: dict[str, Any]) -> Any:
        """What comes of one item, or of one head of one item."""
        options = {n: o[place] if isinstance(o, Tensor) and o.ndim else o for n, o in told.items()}
        return self.function(*(part[place] for part in parts), **options)

    def together(self, returned: list[Any]) -> Any:
        """What came of all calls, each tensor with an axis for them; the first where there is none."""
        first = returned[0]
        if isinstance(first, tuple | list):
            return tuple(self.together(list(parts)) for parts in zip(*returned, strict=True))
        return torch.stack(returned) if isinstance(first, Tensor) else first

    def back(self, part: Any, items: int, heads: int, output: bool) -> Any:
        """With axes of items and heads, those of the output in their usual place."""
        if not isinstance(part, Tensor):
            return part
        if self.layout == "T H D":
            return part.transpose(1, 2) if output and part.ndim == 4 else part
        return part.unflatten(0, (items, heads))
