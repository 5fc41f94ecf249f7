"""What a function of queries, keys and values requires besides them, handed over where a call says nothing.

Legend: B batch, T queries, S keys, D head_dim.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from inspect import Parameter
from typing import Any

import torch
from torch import Tensor

from properties.recognition.adapters.given_masks import FILLS, SHAPES
from properties.recognition.asking.roles import role, scales, seed_of

MASKS = ("mask", "bias", "padding")
DIVISORS = re.compile(r"temperature|^tau$", re.IGNORECASE)
"""Names that say that scores are divided."""


@dataclass(frozen=True)
class Required:
    """A function that is told what it requires: masks that hide nothing, a scale of 1/sqrt(D), and a seed
    from torch's generator wherever something is dropped.

    masks, scale, seed: the arguments, "" or none where it has none; divides: whether scores are divided by
    the scale, so that one is handed over whose inverse is meant; dropout: that for dropout; layout: the
    axes of its queries; shape, fill: of masks, one of `SHAPES`, "" for None in place of one, and `FILLS`.
    Scripts contain it as it is.
    """

    function: Callable[..., Any]
    masks: tuple[str, ...] = ()
    scale: str = ""
    divides: bool = False
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
            scale = options.pop(self.scale, parts[0].shape[-1] ** -0.5)
            told[self.scale] = scale if not self.divides else 1.0 / scale if scale else float("inf")
        if self.seed:
            dropped = bool(options.get(self.dropout))
            told[self.seed] = int(torch.randint(2**31, ())) if dropped else 0
        return self.function(*parts, **{**told, **options})

    def mask(self, query: Tensor, key: Tensor) -> Tensor | None:
        """One that hides nothing."""
        if not self.shape:
            return None
        tokens = -3 if self.layout in ("B T H D", "T H D") else -2  # where they lie before heads
        batch = len(query) if query.ndim > 2 and self.layout != "T H D" else 1
        if self.layout == "T B H D":
            tokens, batch = 0, query.shape[1]
        sizes = {"B": batch, "T": query.shape[tokens], "S": key.shape[tokens], "1": 1}
        return torch.full([sizes[axis] for axis in self.shape.split()], self.fill)


def forms(told: Required, layout: str) -> Iterator[Required]:
    """Every form of its masks in a layout, None first, and of its scale."""
    inverse = bool(DIVISORS.search(told.scale))
    for divides in (inverse, not inverse) if told.scale else (False,):
        one = replace(told, layout=layout, divides=divides)
        yield one
        for shape in SHAPES if told.masks else ():
            for fill in FILLS:
                yield replace(one, shape=shape, fill=fill)


def notes(told: Required) -> list[str]:
    """What it is told."""
    made = "None" if not told.shape else f"one of {told.fill} ({', '.join(told.shape.split())})"
    found = [f"{name} is {made} where no mask is asked about" for name in told.masks]
    if told.scale:
        own = "sqrt(D), which divides the scores," if told.divides else "1/sqrt(D)"
        found.append(f"{told.scale} is {own} where no scale is asked about")
    if told.seed:
        found.append(f"{told.seed} is drawn anew for each call with dropout")
    return found


def completed(
    function: Callable[..., Any], required: Iterable[str], dropout: str
) -> Callable[..., Any]:
    """The function, told what it requires of what has a role; itself where that is nothing.

    required: its arguments without a default besides queries, keys and values.
    """
    needed = {name: role(name) for name in required}
    masks = tuple(name for name, known in needed.items() if known in MASKS)
    scale = next(
        (n for n, known in needed.items() if known == "scale" or (not known and scales(n))), ""
    )
    seed = of_numbers(function) if dropout else ""
    if not (masks or scale or seed):
        return function
    return Required(function, masks, scale, seed=seed, dropout=dropout)


def of_numbers(function: Callable[..., Any]) -> str:
    """The argument for a seed where leaving it out means the same seed in every call; "" for none."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return ""
    fixed = (p for p in parameters if p.default is Parameter.empty or type(p.default) is int)
    return next((p.name for p in fixed if seed_of(p.name)), "")
