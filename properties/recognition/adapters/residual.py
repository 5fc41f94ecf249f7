"""A residual inside a module that has a norm, as a block of BERT has: the input is added to the output.
It is no part of what is asked here, so it is taken out, and told.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass
class WithoutResidual:
    """Hooks by which tokens reach the layers of a module and nothing else of it: zeros are added.

    names: the arguments for tokens; kept, zeros: during a call each of them, and what stands for it.
    Scripts contain it as it is.
    """

    names: tuple[str, ...]
    kept: tuple[Tensor, ...] = ()
    zeros: tuple[Tensor, ...] = ()

    def enter(
        self, module: nn.Module, given: tuple[Any, ...], named: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Zeros in place of the tokens."""
        bound = inspect.signature(module.forward).bind_partial(*given, **named).arguments
        tokens = (bound[name] for name in self.names if isinstance(bound.get(name), Tensor))
        self.kept = tuple({id(part): part for part in tokens}.values())
        self.zeros = tuple(map(torch.zeros_like, self.kept))
        stand = dict(zip(map(id, self.kept), self.zeros, strict=True))
        return (
            tuple(stand.get(id(part), part) for part in given),
            {name: stand.get(id(part), part) for name, part in named.items()},
        )

    def hand(self, layer: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
        """The tokens again, for a layer with parameters."""
        back = dict(zip(map(id, self.zeros), self.kept, strict=True))
        return tuple(back.get(id(part), part) for part in given)

    def leave(self, module: nn.Module, given: tuple[Any, ...], output: Any) -> None:
        """Nothing is kept after a call."""
        self.kept = self.zeros = ()


def without_residual(module: nn.Module, names: tuple[str, ...]) -> nn.Module:
    """The module, with zeros added in place of the tokens in the arguments of these names."""
    hooks = WithoutResidual(names)
    module.register_forward_pre_hook(hooks.enter, with_kwargs=True)
    module.register_forward_hook(hooks.leave, always_call=True)
    for layer in module.modules():
        if layer is not module and list(layer.parameters(recurse=False)):
            layer.register_forward_pre_hook(hooks.hand)
    return module
