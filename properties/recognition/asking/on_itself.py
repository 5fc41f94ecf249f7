"""A module of queries, keys and values, called on x alone: attention of a sequence to itself.

Legend: B batch, T queries, S keys, E width.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn

from properties.basics import interrupts
from properties.subjects.instance import in_eval


class OnItself(nn.Module):
    """A module whose forward takes queries, keys and values, called with x for all three.

    tokens: what its arguments for these are called; blank: the arguments besides that have to be given,
    and are given None; heads: how many there are; axes: those of its tensors, "B T E", "T B E" or
    "B 1 T E".
    """

    def __init__(
        self,
        inner: nn.Module,
        tokens: tuple[str, ...] = ("query", "key", "value"),
        blank: tuple[str, ...] = (),
        heads: int = 1,
        axes: str = "B T E",
    ) -> None:
        """Wrap a module."""
        super().__init__()
        self.inner = inner
        self.tokens, self.blank, self.heads = tokens, blank, heads
        self.axes = axes
        self.by_name = leading(inner) != tokens

    def forward(self, x: Tensor) -> Any:
        """Map (B, T, E) to (B, T, E): the first of what is returned."""
        returned = self.told(x)
        return returned[0] if isinstance(returned, tuple | list) else returned

    def told(self, x: Tensor, **options: Any) -> Any:
        """What is returned for queries of x (B, T, E), the output (B, T, E). Keys (B, S, E) are made of x
        where they are not among what it is told by its own names, and values of what keys are made of.
        """
        _, of_keys, of_values = self.tokens
        key = options.pop(of_keys, x)
        value = options.pop(of_values, key)
        # What is one tensor stays one: some modules have a path of their own for that.
        turned = {id(part): self.turned(part) for part in (x, key, value)}
        parts = [turned[id(part)] for part in (x, key, value)]
        given = dict.fromkeys(self.blank) | options
        if self.by_name:
            returned = self.inner(**dict(zip(self.tokens, parts, strict=True)), **given)
        else:
            returned = self.inner(*parts, **given)
        if isinstance(returned, tuple | list):
            return [self.turned(returned[0]), *returned[1:]]
        return self.turned(returned)

    def turned(self, part: Any) -> Any:
        """(B, T, E) as the module wants it, and back; what is no such tensor as it is."""
        if not isinstance(part, Tensor) or self.axes == "B T E":
            return part
        if self.axes == "B 1 T E" and part.ndim in (3, 4):
            return part.unsqueeze(1) if part.ndim == 3 else part.squeeze(1)
        return part.transpose(0, 1) if part.ndim == 3 else part


def leading(module: nn.Module) -> tuple[str, ...]:
    """The first three arguments of forward, in its order, none of which has to be given by name. Scripts
    contain this as it is.
    """
    parameters = inspect.signature(module.forward).parameters.values()
    return tuple(p.name for p in parameters if p.kind is not p.KEYWORD_ONLY)[:3]


def axes_of(module: OnItself, x: Tensor) -> str:
    """The axes of the tensors of a module, which is called with x (B, T, E) as it is: not these, where it
    gives an axis more, or takes the second one for that of items.
    """
    base = output(module, x)
    if base is not None and base.ndim == x.ndim + 1:
        return "B 1 T E"
    return "T B E" if is_sequence_first(module, x) else "B T E"


def is_sequence_first(module: OnItself, x: Tensor) -> bool:
    """Whether the second axis of x (B, T, E) is that of items: what stands there mixes with nothing else,
    as what stands on the first axis does.
    """
    base = output(module, x)
    if base is None or base.shape != x.shape:
        return False
    along = []
    for axis in (0, 1):
        other = x.clone()
        other.select(axis, 0).add_(1.0)
        changed = output(module, other)
        if changed is None:
            return False
        rest = slice(1, None)
        moved = (changed != base).any(dim=-1).transpose(0, axis)[rest]
        along.append(bool(moved.any()))
    return along == [True, False]


def output(module: OnItself, x: Tensor) -> Tensor | None:
    """What the module gives in eval mode; None where it gives no tensor."""
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            given = in_eval(module)(x)
    except BaseException as error:  # a trial: then nothing is known of its axes
        interrupts.subjects_own(error)
        return None
    return given if isinstance(given, Tensor) else None
