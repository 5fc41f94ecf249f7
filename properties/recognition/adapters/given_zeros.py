"""What a forward requires in order to add it, to the scores or to the output: zeros, which add nothing.

Legend: B batch, T tokens, H heads, C width.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

TO_SCORES = re.compile(
    r"alibi\w*|(attn|attention|score|pos(ition)?|rel(ative)?(_?pos(ition)?)?)s?_?bias",
    re.IGNORECASE,
)
TO_OUTPUT = re.compile(r"residual|shortcut|skip(_connection)?", re.IGNORECASE)
OF_SCORES = ("", "B*H 1 T", "B H 1 T", "H 1 T", "1 H T T", "B H T T", "B*H T T")
"""The axes of what is added to the scores, as a forward may want it; "" for None."""
OF_OUTPUT = "B T C"


@dataclass(frozen=True)
class GivenZeros:
    """A hook before forward: zeros in the arguments of these names, where nothing is given.

    axes: by name, one of `OF_SCORES`, or `OF_OUTPUT`; tokens: the argument for these. Scripts contain it
    as it is.
    """

    axes: tuple[tuple[str, str], ...]
    tokens: str
    heads: int = 1

    def __call__(
        self, module: nn.Module, given: tuple[Any, ...], named: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments with these zeros."""
        x = inspect.signature(module.forward).bind_partial(*given, **named).arguments[self.tokens]
        missing = {name: self.zeros(axes, x) for name, axes in self.axes if name not in named}
        return given, named | missing

    def zeros(self, axes: str, x: Tensor) -> Tensor | None:
        """Zeros for tokens x (B, T, C) or (T, C)."""
        if not axes:
            return None
        items = len(x) if x.ndim > 2 else 1
        sizes = {"B": items, "H": self.heads, "B*H": items * self.heads, "1": 1}
        sizes |= {"T": x.shape[-2], "C": x.shape[-1]}
        return torch.zeros([sizes[axis] for axis in axes.split()], dtype=x.dtype, device=x.device)


def with_zeros(module: nn.Module, zeros: GivenZeros) -> nn.Module:
    """The module, told these zeros where it is told nothing."""
    module.register_forward_pre_hook(zeros, with_kwargs=True)
    return module


def zeros_of(module: nn.Module) -> tuple[str, ...]:
    """The names of the arguments in which a module is given zeros."""
    hooks = module._forward_pre_hooks.values()
    return next(
        (tuple(n for n, _ in hook.axes) for hook in hooks if isinstance(hook, GivenZeros)), ()
    )


def forms(required: tuple[str, ...]) -> Iterator[GivenZeros]:
    """Each form of the zeros for what is added, of the arguments that a forward requires; tokens first."""
    scores = [name for name in required[1:] if TO_SCORES.fullmatch(name)]
    outputs = [(name, OF_OUTPUT) for name in required[1:] if TO_OUTPUT.fullmatch(name)]
    if not scores and not outputs:
        return
    for form in OF_SCORES if scores else ("",):
        yield GivenZeros((*((name, form) for name in scores), *outputs), required[0])


def words(zeros: GivenZeros) -> dict[str, str]:
    """What is not asked of these arguments."""
    what = {name: "the output" if axes == OF_OUTPUT else "the scores" for name, axes in zeros.axes}
    given = {name: "they are zero" if axes else "it is None" for name, axes in zeros.axes}
    return {name: f"numbers added to {to}: {given[name]}" for name, to in what.items()}
