"""Functions that are told how many heads there are.

Legend: B items, T tokens, H heads, G heads of keys and values, D head_dim.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Headed:
    """A function of (B, T, H * D) that splits heads itself, called with (B, H, T, D); or one of heads in a
    layout of its own.

    heads, key_heads: the arguments for how many there are, the latter "" for none; layout: that of the
    queries which come; merges: whether they are handed over as rows of all heads.
    """

    function: Callable[..., Any]
    heads: str
    key_heads: str = ""
    layout: str = "B H T D"
    merges: bool = False
    __wrapped__: Callable[..., Any] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Let its own documentation and source be found."""
        object.__setattr__(self, "__doc__", self.function.__doc__)
        object.__setattr__(self, "__wrapped__", self.function)

    def __call__(self, *parts: Tensor, **options: Any) -> Any:
        """What the function returns."""
        told = {self.heads: self.number(parts[0])}
        if self.key_heads:
            told[self.key_heads] = self.number(parts[1])
        given = [p.transpose(1, 2).flatten(2) for p in parts] if self.merges else parts
        return self.function(*given, **told, **options)

    def number(self, part: Tensor) -> int:
        """How many heads it has; one where the layout has no axis for them."""
        axes = self.layout.split()
        return part.shape[axes.index("H")] if "H" in axes else 1


def forms(told: Headed, layout: str) -> Iterator[Headed]:
    """The ways to hand heads over in a layout; tokens that come first are put there behind it."""
    if layout in ("B H T D", "T B H D"):
        yield replace(told, layout="B H T D", merges=True)
    yield replace(told, layout="B T H D" if layout == "T B H D" else layout)
