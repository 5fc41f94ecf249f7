"""Layers that make a latent of the tokens, of which others make keys and values, with something else there.

A latent that is as wide as the tokens may be these with their columns in another order, which the layers
above take back: what is left is attention with plain projections. Each latent has an order of its own, so
that what is made of the wrong one is told.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn


class Rolled(nn.Module):
    """The columns, each so many places further on. Scripts contain it as it is."""

    def __init__(self, by: int) -> None:
        super().__init__()
        self.by = by

    def forward(self, x: Tensor) -> Tensor:
        """(..., d_in) -> the same."""
        return x.roll(self.by, dims=-1)


@dataclass(frozen=True)
class RolledBack:
    """A hook before a layer that is made of a latent: the columns where they were."""

    by: int

    def __call__(self, layer: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
        """What the layer takes, tokens again."""
        return (given[0].roll(-self.by, dims=-1), *given[1:])


def with_latents(module: nn.Module, latents: tuple[tuple[str, ...], ...]) -> nn.Module:
    """The module, with each latent rolled. latents: the path of the layer that makes it, then of those that
    take it.
    """
    for by, (down, *above) in enumerate(latents, 1):
        parent, _, name = down.rpartition(".")
        setattr(module.get_submodule(parent), name, Rolled(by))
        for path in above:
            module.get_submodule(path).register_forward_pre_hook(RolledBack(by))
    return module
