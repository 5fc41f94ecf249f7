"""A residual inside a module that has a norm, as a block of BERT has: the input is added to the output.
It is no part of what is asked here, so it is taken out, and told.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn


@dataclass
class WithoutResidual:
    """Hooks by which tokens reach the layers of a module and nothing else of it: zeros are added.

    names: the arguments for tokens; tokens: during a call each of them, by the zeros that stand for it.
    One call at a time: not for threads that share a module. Scripts contain it as it is.
    """

    names: tuple[str, ...]
    tokens: list[tuple[Tensor, Tensor]] = field(default_factory=list)

    def enter(
        self, module: nn.Module, given: tuple[Any, ...], named: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Zeros in place of the tokens."""
        bound = inspect.signature(module.forward).bind_partial(*given, **named).arguments
        parts = {id(p): p for n in self.names if isinstance(p := bound.get(n), Tensor)}
        self.tokens = [(torch.zeros_like(part), part) for part in parts.values()]
        return exchanged(given, named, {id(part): zeros for zeros, part in self.tokens})

    def hand(
        self, layer: nn.Module, given: tuple[Any, ...], named: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The tokens again, for a layer with parameters."""
        return exchanged(given, named, {id(zeros): part for zeros, part in self.tokens})

    def leave(self, module: nn.Module, given: tuple[Any, ...], output: Any) -> None:
        """Nothing is kept after a call."""
        self.tokens = []


def exchanged(
    given: tuple[Any, ...], named: dict[str, Any], others: dict[int, Tensor]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments with others in the place of some, by their identity."""
    return (
        tuple(others.get(id(part), part) for part in given),
        {name: others.get(id(part), part) for name, part in named.items()},
    )


def without_residual(module: nn.Module, names: tuple[str, ...]) -> nn.Module:
    """The module, with zeros added in place of the tokens in the arguments of these names."""
    hooks = WithoutResidual(names)
    module.register_forward_pre_hook(hooks.enter, with_kwargs=True)
    module.register_forward_hook(hooks.leave, always_call=True)
    for layer in module.modules():
        if layer is not module and list(layer.parameters(recurse=False)):
            layer.register_forward_pre_hook(hooks.hand, with_kwargs=True)
    return module
