"""Telling a module of tokens what a call asks: masks in the shape and polarity that its forward takes.

Legend: B batch, T tokens, H heads, W width of the output.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from properties.basics.dtypes import Array
from properties.basics.errors import SubjectError
from properties.recognition.asking.functions import polarised, shares_memory
from properties.recognition.turning.handed import hook_of
from properties.subjects.call import Answer, Arguments, Conventions, Inputs
from properties.subjects.instance import go_back, gradient_of, kind, to_array

SHAPES: Mapping[str, Callable[[Array], Array]] = {
    "B T T": lambda mask: mask[:, 0],
    "B 1 T T": lambda mask: mask,
}
"""A mask of pairs (B, 1, T, T), or (B, 1, T, S) of a context, as a forward may want it."""
PLAINLY = {"mask": "mask", "bias": "bias", "padding": "padding"}
OF_CONTEXT = {
    "mask": "context_mask",
    "bias": "context_bias",
    "padding": "context_padding",
    "padding_of_x": "padding",
}
"""The role by which each argument is handed over, without a context and beside one."""


@dataclass(frozen=True)
class ModuleManner:
    """How a forward is called. takes: its argument for each role; pairs: a key of `SHAPES` for the role
    of each mask of pairs, the first one unless given; batched: whether x has an axis of items, else one
    is handed over after the other.
    """

    takes: Mapping[str, str] = field(default_factory=dict)
    pairs: Mapping[str, str] = field(default_factory=dict)
    conventions: Conventions = field(default_factory=Conventions)
    batched: bool = True

    def ask(self, module: nn.Module, inputs: Inputs, arguments: Arguments, dtype: str) -> Answer:
        """The answer for x (B, T, d_in), and for a context (B, S, d_context) where there is one."""
        parts, options = self.handed(inputs, arguments, dtype)
        given = parts | options
        before = {name: part.clone() for name, part in given.items()}
        started = partial(module.eval(), **self.starting(module, parts["x"], arguments.start))
        with torch.no_grad():
            output = self.run(started, list(parts.values()), options)
        return Answer(
            self.read(output, inputs),
            touched=tuple(n for n in given if not torch.equal(given[n], before[n])),
            shared=tuple(n for n in given if shares_memory(output, given[n])),
        )

    def gradients(
        self, module: nn.Module, inputs: Inputs, arguments: Arguments, upstream: Array, dtype: str
    ) -> dict[str, Array]:
        """Of sum(upstream * output), by x and the context; upstream is (B, T, W)."""
        parts, options = self.handed(inputs, arguments, dtype)
        leaves = {"x": parts["x"], "context": options[self.takes["context"]]}
        for leaf in leaves.values():
            leaf.requires_grad_()
        output = self.run(module.eval(), list(parts.values()), options)
        self.read(output, inputs)
        go_back(output, torch.tensor(upstream, dtype=output.dtype))
        return {name: gradient_of(leaf) for name, leaf in leaves.items()}

    def run(
        self, module: Callable[..., Any], parts: list[Tensor], options: dict[str, Tensor]
    ) -> Any:
        """What forward returns, for one item after the other where it takes no axis of items."""
        if self.batched:
            return module(*parts, **options)
        items = [
            module(*(part[item] for part in parts), **{n: o[item] for n, o in options.items()})
            for item in range(len(parts[0]))
        ]
        return torch.stack(items)

    def handed(
        self, inputs: Inputs, arguments: Arguments, dtype: str
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """What is given by position and what by name."""
        fmt = getattr(torch, dtype)
        x = torch.tensor(inputs["x"].copy(), dtype=fmt)
        options = self.options(arguments, fmt, OF_CONTEXT if "context" in inputs else PLAINLY)
        if "context" in inputs:
            options[self.takes["context"]] = torch.tensor(inputs["context"].copy(), dtype=fmt)
        return {"x": x}, options

    def options(
        self, a: Arguments, fmt: torch.dtype, roles: Mapping[str, str]
    ) -> dict[str, Tensor]:
        """The arguments by the forward's own names; what one argument is told twice is joined.

        roles: the role of each argument.
        """
        mask, bias, padding = a.mask, a.bias, a.padding
        of = {name: self.takes.get(role) for name, role in roles.items()}
        if mask is not None and padding is not None and of["mask"] == of["padding"]:
            mask, padding = mask & padding[:, None, None, :], None
        if mask is not None and bias is not None and of["mask"] == of["bias"]:
            bias, mask = np.where(mask, bias, -np.inf), None
        pairs = self.pairs.get(roles["mask"], next(iter(SHAPES)))
        found = {}
        if mask is not None:
            found["mask"] = shaped(mask, pairs)
        if bias is not None:
            found["bias"] = shaped(bias, pairs)
        if padding is not None:
            found["padding"] = padding
        if a.padding_of_x is not None:
            found["padding_of_x"] = a.padding_of_x
        return {
            self.takes[roles[name]]: self.told(roles[name], array, fmt)
            for name, array in found.items()
        }

    def starting(self, module: nn.Module, x: Tensor, start: int | None) -> dict[str, Any]:
        """What says at which position x begins; nothing where nothing was told."""
        if start is None:
            return {}
        handed = hook_of(module)
        return handed.made(x, start) if handed else {self.takes["start"]: start}

    def told(self, role: str, array: Any, fmt: torch.dtype) -> Tensor:
        """Numbers as they are, booleans in the polarity of their role."""
        if role in ("bias", "context_bias"):
            return torch.tensor(array, dtype=fmt)
        return polarised(array, getattr(self.conventions, role))

    def read(self, output: Any, inputs: Inputs) -> Array:
        """The output (B, T, W)."""
        batch, tokens = inputs["x"].shape[:2]
        if not isinstance(output, Tensor) or output.shape[:-1] != (batch, tokens):
            expected = f"a tensor ({batch}, {tokens}, W)"
            raise SubjectError(f"the call returned {kind(output)}; expected {expected}")
        return to_array(output)


def shaped(mask: Any, pairs: str) -> Any:
    """A mask of pairs for all heads alike, as the forward wants it.

    SubjectError for one that differs between heads, and for one without items or heads, which
    could be taken for a mask of keys.
    """
    if mask.ndim != 4 or not np.array_equal(mask, np.broadcast_to(mask[:, :1], mask.shape)):
        raise SubjectError(f"a mask {mask.shape} was not tried, (B, 1, T, T) was")
    return np.ascontiguousarray(SHAPES[pairs](mask[:, :1]))
