"""Masks that hide the future, as a module of one's own would make them: the one that a forward takes is
found by trial, so that what is printed does what it is there for.

Legend: T tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from properties.recognition.adapters import calls, families
from properties.recognition.adapters.calls import FUTURE
from properties.truth.parameters import Sizes

KINDS: dict[str, tuple[str, Callable[[Tensor], Tensor]]] = {
    "true for what is hidden": (FUTURE, lambda future: future),
    "true for what is shown": (f"~{FUTURE}", lambda future: ~future),
    "one for what is shown": (f"(~{FUTURE}).to(x.dtype)", lambda future: (~future).float()),
    "minus infinity for what is hidden": (
        f"x.new_zeros(()).masked_fill({FUTURE}, -torch.inf)",
        lambda future: torch.zeros(()).masked_fill(future, -torch.inf),
    ),
}
AXES: dict[str, tuple[None, ...]] = {"": (), "[None]": (None,), "[None, None]": (None, None)}
"""Further axes in front."""


@dataclass(frozen=True)
class Handed:
    """A hook before forward: one of these masks in the argument of this name."""

    name: str
    make: Callable[[Tensor], Tensor]
    axes: tuple[None, ...]

    def __call__(
        self, module: nn.Module, given: tuple[Any, ...], named: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments with a mask for the tokens that come."""
        tokens = given[0].shape[-2]
        future = torch.ones(tokens, tokens, dtype=torch.bool).triu(1)
        return given, {**named, self.name: self.make(future)[(*self.axes, ...)]}


def that_hides(
    module: nn.Module, names: Iterable[str], sizes: Sizes
) -> tuple[str, str, str] | None:
    """The first of the masks of these names that hides the future: its name, what it says in words, and its
    code; None if none does.
    """
    kinds = product(names, KINDS.items(), AXES.items())
    for name, (words, (code, make)), (index, axes) in kinds:
        handed = Handed(name, make, axes)
        hook = calls.inside(module).register_forward_pre_hook(handed, with_kwargs=True)
        try:
            if families.trial_future(module, sizes) == "none":
                return name, words, f"({code}){index}" if index else code
        finally:
            hook.remove()
    return None
