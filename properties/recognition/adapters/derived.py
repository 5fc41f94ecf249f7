"""Weights that are computed from other tensors at each use: weight_norm, pruning, parametrizations.

What is written into such a weight is lost at once; it is written where it comes from, and read back.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize, prune
from torch.nn.utils.parametrizations import _WeightNorm
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from properties.basics.errors import SubjectError

ROUNDING = 16  # epsilons: what a right inverse may lose on the way there and back


class UnwritableError(SubjectError):
    """A weight cannot be given arbitrary numbers."""


@dataclass(frozen=True, eq=False)
class Derived:
    """The weight called `name` of a module, computed by `makers` from the parameters `originals`."""

    module: nn.Module
    name: str
    makers: tuple[Any, ...]
    originals: tuple[nn.Parameter, ...]

    def value(self) -> Tensor:
        """The weight as forward uses it."""
        for maker in self.makers:
            if maker in self.module._forward_pre_hooks.values():
                maker(self.module, None)
        found: Tensor = getattr(self.module, self.name)
        return found.detach()

    def write(self, path: str, numbers: Tensor) -> None:
        """Set the originals so that the weight is these numbers; UnwritableError if it is not then."""
        try:
            self.set(numbers)
            found = self.value()
        except Exception as error:  # a constraint that says so
            raise UnwritableError(self.told(path, f"{type(error).__name__}: {error}")) from error
        allowed = ROUNDING * torch.finfo(found.dtype).eps * numbers.abs()
        if not bool(((found - numbers).abs() <= allowed).all()):
            raise UnwritableError(self.told(path, "they are others when it is read back"))

    def told(self, path: str, why: str) -> str:
        """What does not work, in a sentence."""
        names = " and ".join(type(maker).__name__.lstrip("_") for maker in self.makers)
        maker = f"by {names} " if names else ""
        return f"{path} is computed {maker}and cannot be given arbitrary numbers: {why}"

    def set(self, numbers: Tensor) -> None:
        """Write into the originals, by the right inverse where there is one."""
        match self.makers:
            case (_WeightNorm(),) | (WeightNorm(),):
                length, direction = self.originals
                lengths, directions = in_polar_form(numbers, self.makers[0].dim)
                length.copy_(lengths)
                direction.copy_(directions)
            case (prune.BasePruningMethod(), *_):
                self.originals[0].copy_(numbers)
            case _:
                setattr(self.module, self.name, numbers)


def in_polar_form(numbers: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """What weight_norm computes a weight from: lengths g and directions v of its rows, g v / |v|.

    A direction may have any length: it is a power of two of the row, whose square is in range, so
    that g / |v| is that power exactly. Where a row is zero, g is.
    """
    along = (0, 1) if dim == -1 else (1 - dim,)
    peak = numbers.abs().amax(along, keepdim=True)
    scale = torch.exp2(torch.floor(torch.log2(torch.where(peak == 0, 1.0, peak))))
    directions = torch.where(peak == 0, torch.ones_like(numbers), numbers / scale)
    lengths = torch.norm_except_dim(directions, 2, dim) * scale
    return torch.where(peak == 0, torch.zeros_like(lengths), lengths), directions


def derived(module: nn.Module, name: str) -> Derived | None:
    """How the module computes the tensor called `name`; None if it simply holds it."""
    if name in module._parameters or name in module._buffers:
        return None
    if parametrize.is_parametrized(module, name):
        made: Any = module.parametrizations[name]  # type: ignore[index]
        return Derived(module, name, tuple(made), tuple(made.parameters(recurse=False)))
    hooks = tuple(h for h in module._forward_pre_hooks.values() if name_of(h) == name)
    if hooks:
        own = [module._parameters.get(f"{name}_{part}") for part in ("g", "v", "orig")]
        return Derived(module, name, hooks, tuple(p for p in own if p is not None))
    is_property = isinstance(getattr(type(module), name, None), property)
    return Derived(module, name, (), ()) if is_property else None


def name_of(hook: Any) -> str:
    """The tensor that a hook computes before each call; "" for other hooks."""
    if isinstance(hook, WeightNorm | SpectralNorm):
        return hook.name
    return str(hook._tensor_name) if isinstance(hook, prune.BasePruningMethod) else ""


def all_derived(module: nn.Module) -> Iterator[Derived]:
    """Every computed tensor of a module and of its parts."""
    for part in module.modules():
        names = list(part.parametrizations) if parametrize.is_parametrized(part) else []  # type: ignore[arg-type]
        names += [name_of(hook) for hook in part._forward_pre_hooks.values()]
        yield from (found for name in names if name and (found := derived(part, name)) is not None)


def companions(module: nn.Module) -> list[Tensor]:
    """The buffers that belong to computed weights: a mask, the vectors of a power iteration."""
    found: list[Tensor] = []
    for one in all_derived(module):
        found += [
            b for maker in one.makers if isinstance(maker, nn.Module) for b in maker.buffers()
        ]
        own = one.module._buffers.items()
        found += [b for name, b in own if name.startswith(f"{one.name}_") and b is not None]
    return found


def number_count(module: nn.Module) -> int:
    """How many numbers the parameters hold, those of a computed weight counted as that weight's."""
    found = list(all_derived(module))
    instead = {id(parameter) for one in found for parameter in one.originals}
    plain = sum(p.numel() for p in module.parameters() if id(p) not in instead)
    return plain + sum(one.value().numel() for one in found)


def originals(module: nn.Module) -> frozenset[str]:
    """The names of the parameters from which weights are computed."""
    found = {id(parameter) for one in all_derived(module) for parameter in one.originals}
    return frozenset(name for name, p in module.named_parameters() if id(p) in found)
