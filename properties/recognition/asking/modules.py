"""Telling a module of tokens what a call asks: masks in the shape and polarity that its forward takes.

Legend: B batch, T tokens, H heads, W width of the output.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from properties.basics.dtypes import Array
from properties.basics.errors import SubjectError
from properties.recognition.asking.functions import polarised, shares_memory
from properties.subjects.call import Answer, Arguments, Conventions, Inputs
from properties.subjects.instance import kind, to_array

SHAPES: Mapping[str, Callable[[Array], Array]] = {
    "B T T": lambda mask: mask[:, 0],
    "B 1 T T": lambda mask: mask,
}
"""A mask of pairs (B, 1, T, T) as a forward may want it."""


@dataclass(frozen=True)
class ModuleManner:
    """How a forward is called. takes: its argument for each role; pairs: a key of `SHAPES`."""

    takes: Mapping[str, str] = field(default_factory=dict)
    pairs: str = "B T T"
    conventions: Conventions = field(default_factory=Conventions)

    def ask(self, module: nn.Module, inputs: Inputs, arguments: Arguments, dtype: str) -> Answer:
        """The answer for x (B, T, d_in)."""
        fmt = getattr(torch, dtype)
        x = torch.tensor(inputs["x"].copy(), dtype=fmt)
        options = self.options(arguments, fmt)
        given = {"x": x} | options
        before = {name: part.clone() for name, part in given.items()}
        with torch.no_grad():
            output = module.eval()(x, **options)
        return Answer(
            self.read(output, inputs),
            touched=tuple(n for n in given if not torch.equal(given[n], before[n])),
            shared=tuple(n for n in given if shares_memory(output, given[n])),
        )

    def options(self, a: Arguments, fmt: torch.dtype) -> dict[str, Tensor]:
        """The arguments by the forward's own names; what one argument is told twice is joined."""
        mask, bias, padding = a.mask, a.bias, a.padding
        if mask is not None and padding is not None and self.shared("mask", "padding"):
            mask, padding = mask & padding[:, None, None, :], None
        if mask is not None and bias is not None and self.shared("mask", "bias"):
            bias, mask = np.where(mask, bias, -np.inf), None
        found = {}
        if mask is not None:
            found["mask"] = polarised(self.shaped(mask), self.conventions.mask)
        if bias is not None:
            found["bias"] = torch.tensor(self.shaped(bias), dtype=fmt)
        if padding is not None:
            found["padding"] = polarised(padding, self.conventions.padding)
        return {self.takes[role]: tensor for role, tensor in found.items()}

    def shared(self, one: str, other: str) -> bool:
        """Whether two roles have one argument."""
        return self.takes.get(one) == self.takes.get(other)

    def shaped(self, mask: Any) -> Any:
        """A mask of pairs for all heads alike, as the forward wants it.

        SubjectError for one that differs between heads, and for one without items or heads, which
        could be taken for a mask of keys.
        """
        if mask.ndim != 4 or not np.array_equal(mask, np.broadcast_to(mask[:, :1], mask.shape)):
            raise SubjectError(f"a mask {mask.shape} was not tried, (B, 1, T, T) was")
        return np.ascontiguousarray(SHAPES[self.pairs](mask[:, :1]))

    def read(self, output: Any, inputs: Inputs) -> Array:
        """The output (B, T, W)."""
        batch, tokens = inputs["x"].shape[:2]
        if not isinstance(output, Tensor) or output.shape[:-1] != (batch, tokens):
            expected = f"a tensor ({batch}, {tokens}, W)"
            raise SubjectError(f"the call returned {kind(output)}; expected {expected}")
        return to_array(output)
