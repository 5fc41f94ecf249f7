"""A function of another library's arrays as a function of torch tensors, with its own derivatives."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from properties.recognition.foreign.arrays import Arrays, Function


class Bridge:
    """Called as the function is, with tensors in place of arrays; it returns tensors."""

    def __init__(self, function: Callable[..., Any], arrays: Arrays) -> None:
        """Look like the function: its name, signature and docstring."""
        functools.update_wrapper(self, function)
        self.function, self.arrays = function, arrays
        self.crossings: dict[Any, Crossing] = {}

    def __call__(self, *given: Any, **named: Any) -> Any:
        """What the function returns, its arrays as tensors; differentiable where the library can."""
        parts = [*given, *named.values()]
        tensors = [part for part in parts if isinstance(part, Tensor)]
        with self.arrays.within():
            return self.crossing(parts, tuple(named))(tensors)

    def crossing(self, parts: Sequence[Any], names: tuple[str, ...]) -> Crossing:
        """The one for calls that differ in their tensors alone, made once."""
        fixed = tuple(Tensor if isinstance(part, Tensor) else part for part in parts)
        key = names, repr(fixed)
        if key not in self.crossings:
            self.crossings[key] = Crossing(self.function, self.arrays, fixed, names)
        return self.crossings[key]


class Crossing:
    """A function of tensors alone: the other arguments are fixed.

    fixed: what is given, Tensor where that is a tensor; names: of the last of these.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        arrays: Arrays,
        fixed: tuple[Any, ...],
        names: tuple[str, ...],
    ) -> None:
        self.function, self.arrays, self.fixed, self.names = function, arrays, fixed, names
        self.several: type | None = None  # tuple or list, where it returned one
        self.others: dict[int, Any] = {}  # parts of it that are no arrays
        self.step = Step(arrays, arrays.prepared(self.call))

    def __call__(self, tensors: Sequence[Tensor]) -> Any:
        """What the function returns for these, in tensors; a named tuple becomes a plain one."""
        found = self.step(tensors)
        count, rest = len(found) + len(self.others), iter(found)
        parts = [self.others[n] if n in self.others else next(rest) for n in range(count)]
        if self.several is None:
            return parts[0]
        return parts if self.several is list else tuple(parts)

    def call(self, *arrays: Any) -> Sequence[Any]:
        """The arrays among what the function returns; how they lie in it is kept."""
        rest = iter(arrays)
        parts = [next(rest) if part is Tensor else part for part in self.fixed]
        first = len(parts) - len(self.names)
        returned = self.function(
            *parts[:first], **dict(zip(self.names, parts[first:], strict=True))
        )
        self.several = type(returned) if isinstance(returned, tuple | list) else None
        found = list(returned) if self.several else [returned]
        self.others = {n: part for n, part in enumerate(found) if not self.arrays.is_array(part)}
        return tuple(part for n, part in enumerate(found) if n not in self.others)


class Step:
    """A function of arrays as one of tensors, with its derivatives, which are such a step again."""

    def __init__(self, arrays: Arrays, function: Function) -> None:
        self.arrays, self.function = arrays, function
        self.back: Step | None = None

    def __call__(self, tensors: Sequence[Tensor]) -> Sequence[Tensor]:
        """What comes of these; recorded by torch where one of them requires a gradient."""
        wanted = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
        if wanted and self.derivatives(len(tensors)) is not None:
            record: Callable[..., Sequence[Tensor]] = Recorded.apply
            return record(self, *tensors)
        return self.computed(tensors)

    def computed(self, tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The numbers alone."""
        with self.arrays.within():
            returned = self.function(*(self.arrays.array(tensor) for tensor in tensors))
            return tuple(self.arrays.tensor(array) for array in returned)

    def derivatives(self, inputs: int) -> Step | None:
        """(*inputs, *upstream) -> the derivatives by floating inputs; None where there are none."""
        if self.back is None and (pulled := self.arrays.pulled(self.function, inputs)) is not None:
            self.back = Step(self.arrays, pulled)
        return self.back


class Recorded(torch.autograd.Function):
    """A step, and back again by the library's own derivatives, of any order."""

    @staticmethod
    def forward(ctx: Any, step: Step, *tensors: Tensor) -> tuple[Tensor, ...]:
        """The step."""
        ctx.step = step
        ctx.save_for_backward(*tensors)
        outputs = step.computed(tensors)
        ctx.mark_non_differentiable(*(o for o in outputs if not o.is_floating_point()))
        return outputs

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Any, ...]:
        """A derivative for each floating tensor, None for the others."""
        tensors = ctx.saved_tensors
        used = [part for part in upstream if part.is_floating_point()]
        found = iter(ctx.step.derivatives(len(tensors))((*tensors, *used)))
        return None, *(next(found) if part.is_floating_point() else None for part in tensors)
