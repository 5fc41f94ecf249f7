"""What a function of queries, keys and values requires besides them, handed over where a call says nothing.

Legend: B batch, T queries, S keys, D head_dim.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from inspect import Parameter
from typing import Any

import torch
from torch import Tensor

from properties.recognition.adapters.given_masks import FILLS, SHAPES
from properties.recognition.asking.roles import role, seed_of

MASKS = ("mask", "bias", "padding")
TOKENS_BEFORE_HEADS = ("B T H D", "T H D")


@dataclass(frozen=True)
class Required:
    """A function that is told what it requires: masks that hide nothing, a scale of 1/sqrt(D), and a seed
    from torch's generator wherever something is dropped.

    masks, scale, seed: the arguments, "" or none where it has none; dropout: that for dropout; layout: the
    axes of its queries; shape, fill: of masks, one of `SHAPES`, "" for None in place of one, and `FILLS`.
    """

    function: Callable[..., Any]
    masks: tuple[str, ...] = ()
    scale: str = ""
    seed: str = ""
    dropout: str = ""
    layout: str = ""
    shape: str = ""
    fill: float = True
    __wrapped__: Callable[..., Any] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Let its own documentation and source be found."""
        object.__setattr__(self, "__doc__", self.function.__doc__)
        object.__setattr__(self, "__wrapped__", self.function)

    def __call__(self, *parts: Any, **options: Any) -> Any:
        """What the function returns."""
        told: dict[str, Any] = {}
        if self.masks:
            told |= dict.fromkeys(self.masks, self.mask(*parts[:2]))
        if self.scale:
            told[self.scale] = parts[0].shape[-1] ** -0.5
        if self.seed:
            dropped = bool(options.get(self.dropout))
            told[self.seed] = int(torch.randint(2**31, ())) if dropped else 0
        return self.function(*parts, **{**told, **options})

    def mask(self, query: Tensor, key: Tensor) -> Tensor | None:
        """One that hides nothing."""
        if not self.shape:
            return None
        tokens = -3 if self.layout in TOKENS_BEFORE_HEADS else -2
        batch = len(query) if query.ndim > 2 and self.layout != "T H D" else 1
        sizes = {"B": batch, "T": query.shape[tokens], "S": key.shape[tokens], "1": 1}
        return torch.full([sizes[axis] for axis in self.shape.split()], self.fill)

    def forms(self, layout: str) -> Iterator[Required]:
        """Every form of its masks in a layout, None first."""
        yield replace(self, layout=layout)
        for shape in SHAPES if self.masks else ():
            for fill in FILLS:
                yield replace(self, layout=layout, shape=shape, fill=fill)

    @property
    def notes(self) -> list[str]:
        """What it is told."""
        made = "None" if not self.shape else f"one of {self.fill} ({', '.join(self.shape.split())})"
        found = [f"{name} is {made} where no mask is asked about" for name in self.masks]
        if self.scale:
            found.append(f"{self.scale} is 1/sqrt(D) where no scale is asked about")
        if self.seed:
            found.append(f"{self.seed} is drawn anew for each call with dropout")
        return found


def completed(
    function: Callable[..., Any], required: Iterable[str], dropout: str
) -> Callable[..., Any]:
    """The function, told what it requires of what has a role; itself where that is nothing.

    required: its arguments without a default besides queries, keys and values.
    """
    needed = {name: role(name) for name in required}
    masks = tuple(name for name, known in needed.items() if known in MASKS)
    scale = next((name for name, known in needed.items() if known == "scale"), "")
    seed = of_numbers(function) if dropout else ""
    if not (masks or scale or seed):
        return function
    return Required(function, masks, scale, seed, dropout)


def of_numbers(function: Callable[..., Any]) -> str:
    """The argument for a seed where leaving it out means the same seed in every call; "" for none."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return ""
    fixed = (p for p in parameters if p.default is Parameter.empty or type(p.default) is int)
    return next((p.name for p in fixed if seed_of(p.name)), "")
