"""Masks and lengths that a forward requires, made for the tokens that come so that they hide nothing.

Legend: B batch, T queries, S keys.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

SHAPES = ("T S", "B 1 T S", "B 1 1 S", "B T S", "B S")
"""The axes of a mask as a forward may want it; "B": how many keys of each item there are, all."""
FILLS = (True, 1.0, False, 0.0)
"""What stands in a mask that hides nothing: by polarity, in booleans or numbers."""


@dataclass(frozen=True)
class GivenMasks:
    """A hook before forward: the masks of these names, where none is given, hide nothing.

    queries, keys: the arguments for the tokens that see and that are seen; where the latter is none, they
    are the same; shape: one of `SHAPES` or "B", "" for None in place of a mask; fill: one of `FILLS`.
    Scripts contain it as it is.
    """

    names: tuple[str, ...]
    queries: str
    keys: str = ""
    shape: str = ""
    fill: float = True

    def __call__(
        self, module: nn.Module, given: tuple[Any, ...], named: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments with these masks."""
        bound = inspect.signature(module.forward).bind_partial(*given, **named).arguments
        missing = [name for name in self.names if name not in bound]
        x = bound.get(self.queries)
        if not self.shape or not isinstance(x, Tensor) or x.ndim < 2:
            return given, named | dict.fromkeys(missing)
        seen = bound.get(self.keys)
        keys = seen if isinstance(seen, Tensor) and seen.ndim > 1 else x
        sizes = {"B": len(x) if x.ndim > 2 else 1, "T": x.shape[-2], "S": keys.shape[-2], "1": 1}
        axes = [sizes[axis] for axis in self.shape.split()]
        fill = keys.shape[-2] if self.shape == "B" else self.fill
        mask = torch.full(axes, fill, device=x.device)
        return given, named | dict.fromkeys(missing, mask)


def with_masks(module: nn.Module, masks: GivenMasks) -> nn.Module:
    """The module, told these masks where it is told none."""
    module.register_forward_pre_hook(masks, with_kwargs=True)
    return module


def masks_of(module: nn.Module) -> tuple[str, ...]:
    """The names of the masks that are made for a module."""
    hooks = module._forward_pre_hooks.values()
    return next((hook.names for hook in hooks if isinstance(hook, GivenMasks)), ())


def words(masks: GivenMasks) -> str:
    """What stands in these masks."""
    return "what is made for it hides nothing" if masks.shape else "it is None"


def forms(masks: GivenMasks) -> Iterator[GivenMasks]:
    """Every form of these masks, None first."""
    yield masks
    for shape in SHAPES:
        for fill in FILLS:
            yield replace(masks, shape=shape, fill=fill)
    yield replace(masks, shape="B")
