"""A class of torch modules that stands for a class of another library's.

It is made by the same arguments, holds the same parameters, and is called by the same names. What only says
in which mode a call is made (deterministic, training) follows the mode of the torch module.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import Parameter, Signature
from typing import Any

import torch
from torch import Tensor, nn

from properties.recognition.foreign.bridge import Bridge
from properties.recognition.foreign.classes.layers import lay
from properties.recognition.foreign.classes.original import Original


class Stand(nn.Module):
    """A torch module in the place of another library's."""

    original: Original
    made: dict[Any, Shared]

    def __init__(self, **given: Any) -> None:
        """Make the module that it stands for, and hold its parameters."""
        super().__init__()
        self.given = given
        self.leaves = lay(self, self.shared("float32").parameters)

    def shared(self, dtype: str) -> Shared:
        """What all that are made by the same arguments have in common, in this format."""
        key = repr(sorted(self.given.items())), dtype if self.original.kind.by_format else ""
        if key not in self.made:
            self.made[key] = Shared(self.original, self.given, dtype)
        return self.made[key]

    def forward(self, *given: Any, **named: Any) -> Any:
        """What the other module returns. For a call in training a seed is drawn from torch's generator."""
        weights = [leaf.read(self) for leaf in self.leaves]
        seed = [torch.randint(2**31, (1,))] if self.training else []
        call = self.shared(format_of([*weights, *given])).call
        return call(*seed, *weights, *given, in_training=self.training, **named)


def format_of(parts: list[Any]) -> str:
    """The format of the first numbers with a point among these."""
    found = (p.dtype for p in parts if isinstance(p, Tensor) and p.is_floating_point())
    return str(next(found, torch.float32)).removeprefix("torch.")


class Shared:
    """A module of the other library, opened."""

    def __init__(self, original: Original, given: Mapping[str, Any], dtype: str) -> None:
        self.original, self.opened = original, original.opened(given, dtype)
        self.parameters, arrays = self.opened.parameters, original.kind.arrays
        self.call: Callable[..., Any] = Bridge(self.flat, arrays) if arrays else self.flat

    def flat(self, *parts: Any, in_training: bool, **named: Any) -> Any:
        """What it gives for the seed, if there is one, the parameters, and the inputs."""
        seed, rest = (parts[0][0], parts[1:]) if in_training else (None, parts)
        weights = dict(zip(self.parameters, rest, strict=False))
        told = {**self.original.modes(in_training, seed), **named}
        return self.opened.call(weights, rest[len(weights) :], told, in_training, seed)


def standing(original: Original) -> type[Stand]:
    """The class of torch modules that stands for this one."""
    shown = [p for p in original.called if not original.is_mode(p)]
    named: dict[str, Any] = {
        "__module__": original.make.__module__,
        "__qualname__": original.make.__qualname__,
        "__doc__": original.make.__doc__,
        "__init__": with_signature(Stand.__init__, original.parameters),
        "forward": with_signature(Stand.forward, shown),
        "original": original,
        "made": {},
    }
    return type(original.make.__name__, (Stand,), named)


def with_signature(function: Callable[..., Any], parameters: list[Parameter]) -> Callable[..., Any]:
    """The method, saying that it takes these besides self."""

    def method(self: Any, *given: Any, **named: Any) -> Any:
        return function(self, *given, **named)

    ordered = sorted(parameters, key=lambda p: p.kind)
    own = Parameter("self", Parameter.POSITIONAL_ONLY)
    vars(method)["__signature__"] = Signature([own, *ordered])
    return method
