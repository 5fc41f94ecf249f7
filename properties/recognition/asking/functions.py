"""Calling a function of queries, keys and values as a call asks, and reading what it returns.

Legend: B batch, H query heads, G key-value heads, T queries, S keys, D head_dim.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from properties.basics.dtypes import Array
from properties.basics.errors import SubjectError
from properties.recognition.asking import declined, packed
from properties.subjects.call import PLAINLY, Answer, Arguments, Conventions, Handing, Inputs
from properties.subjects.instance import go_back, gradient_of, kind, to_array
from properties.truth import visibility
from properties.truth.oracle import merge

QKV = ("queries", "keys", "values")


@dataclass(frozen=True)
class Manner:
    """How a function is called. takes: its argument for each role, "" where none is needed; layout: the
    order of the axes of its tensors; pair: whether a window is given as (left, right); counted: whether a
    side without a limit has to be a large number, not -1; apart: whether a call with a mask and the
    causal flag is refused, so that the mask hides the future, too; hides: whether it hides the future
    without being told so; replaces: whether a mask takes the place of that; divides: whether a scale
    divides the scores, so that one is handed over whose inverse is meant; origins: how each convention
    is known; trial, head_dim: the format of trials, and the smallest width of a head in them.
    """

    call: Callable[..., Any]
    takes: Mapping[str, str] = field(default_factory=dict)
    layout: str = "B H T D"
    conventions: Conventions = field(default_factory=Conventions)
    pair: bool = True
    dropout: str = ""
    counted: bool = False
    apart: bool = False
    hides: bool = False
    replaces: bool = False
    divides: bool = False
    origins: Mapping[str, str] = field(default_factory=dict)
    trial: str = "float32"
    head_dim: int = 1

    def ask(
        self, inputs: Inputs, arguments: Arguments, dtype: str, handing: Handing = PLAINLY
    ) -> Answer:
        """The answer for queries (B, H, T, D), keys (B, G, S, D) and values (B, G, S, E)."""
        parts, options = self.handed(inputs, arguments, dtype, handing.dropout)
        if handing.stored:
            parts, options = stored(parts, options, handing)
        given = parts | {name: o for name, o in options.items() if isinstance(o, Tensor)}
        before = {name: part.clone() for name, part in given.items()}
        with torch.set_grad_enabled(handing.gradients):
            if handing.gradients:
                parts = {n: part.detach().requires_grad_() for n, part in parts.items()}
            if handing.again:
                for part in given.values():
                    part.copy_(part.flip(-1, 0) if part.ndim > 1 else part.flip(0))
                self.returned(parts, options)
                for name, part in given.items():
                    part.copy_(before[name])
            returned = self.returned(parts, options)
        answer = self.read(returned, inputs, arguments)
        return replace(
            answer,
            touched=tuple(n for n in given if not torch.equal(given[n], before[n])),
            shared=tuple(n for n in given if shares_memory(returned, given[n])),
        )

    def returned(self, parts: Mapping[str, Tensor], options: Mapping[str, Any]) -> Any:
        """What the function returns; DeclinedError where it says that it does not support such a call."""
        try:
            return self.call(*parts.values(), **options)
        except BaseException as error:
            declined.require_support(error)
            raise

    def handed(
        self, inputs: Inputs, arguments: Arguments, dtype: str, dropout: float = 0.0
    ) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """What is given by position and what by name."""
        fmt = getattr(torch, dtype)
        parts = {name: self.laid(torch.tensor(inputs[name].copy(), dtype=fmt)) for name in QKV}
        return parts, self.options(inputs, arguments, fmt, dropout)

    def gradients(
        self, inputs: Inputs, arguments: Arguments, upstream: Array, dtype: str
    ) -> dict[str, Array]:
        """Of sum(upstream * output), by each input's name and, where one is given, the bias; upstream is
        (B, H, T, E). What the output does not depend on has gradient zero.
        """
        fmt = getattr(torch, dtype)
        leaves = {n: torch.tensor(inputs[n].copy(), dtype=fmt, requires_grad=True) for n in QKV}
        options = self.options(inputs, arguments, fmt)
        if arguments.bias is not None:
            leaves["bias"] = options[self.takes["bias"]].requires_grad_()
        returned = self.returned({name: self.laid(leaves[name]) for name in QKV}, options)
        context = self.context(returned, self.places(returned, inputs, arguments))
        go_back(context, torch.tensor(upstream, dtype=fmt))
        return {name: gradient_of(leaf) for name, leaf in leaves.items()}

    def places(self, returned: Any, inputs: Inputs, a: Arguments) -> dict[str, int]:
        """Where the context (as "output"), the weights and the log-sum-exp stand among what was returned.

        The context is the first tensor of its shape. The others are told by their shapes as well, if
        they were asked for: where there are as many heads as keys, both may have the same.
        """
        batch, heads, tokens, _ = inputs["queries"].shape
        keys, width = inputs["keys"].shape[2], inputs["values"].shape[3]
        of_weights = [(batch, heads, tokens, keys), (batch, tokens, keys)]
        if self.conventions.weights == "per head":  # a log-sum-exp may be as large as an average
            of_weights = of_weights[:1]
        wanted = {
            "output": [(batch, heads, tokens, width)],
            "weights": of_weights * a.weights,
            "lse": [(batch, heads, tokens), (batch, tokens, heads)] * a.lse,
        }
        found: dict[str, int] = {}
        parts = listed(returned)
        shapes = [tuple(p.shape) if isinstance(p, Tensor) else () for p in parts]
        if shapes and len(shapes[0]) == 4:
            shapes[0] = tuple(self.laid(parts[0]).shape)
        for name, right in wanted.items():
            for place, shape in enumerate(shapes):
                if name not in found and shape in right and place not in found.values():
                    found[name] = place
        if "output" not in found:
            expected = "x".join(map(str, (batch, heads, tokens, width)))
            raise SubjectError(
                f"the call returned {kind(returned)}; expected a tensor {expected} (B, H, T, D)"
            )
        return found

    def context(self, returned: Any, places: Mapping[str, int]) -> Tensor:
        """(B, H, T, E). Beside other parts, only the first one is taken to be in the function's layout."""
        place = places["output"]
        context: Tensor = listed(returned)[place]
        return context if place else self.laid(context)

    def laid(self, part: Tensor) -> Tensor:
        """(B, H, T, D) as the function wants it, and back."""
        if self.layout == packed.LAYOUT:  # documents lie one after the other in memory
            return part.transpose(1, 2).contiguous()
        return part.transpose(1, 2) if self.layout == "B T H D" else part

    def options(
        self, inputs: Inputs, a: Arguments, fmt: torch.dtype, dropout: float = 0.0
    ) -> dict[str, Any]:
        """The arguments by the function's own names; what keeps its default is left out."""
        heads, groups = inputs["queries"].shape[1], inputs["keys"].shape[1]
        if self.apart:
            a = joined(a, inputs, self.conventions.align or "top left")
        found: dict[str, Any] = {"causal": bool(a.causal), "scale": self.scale(a), "cap": a.cap}
        if groups < heads:
            found["groups"] = True
        if a.slopes is not None:
            found["slopes"] = torch.tensor(a.slopes, dtype=torch.float32)
        if a.documents is not None:
            found["documents"] = torch.tensor(a.documents)
        if a.segments is not None:
            found["segments"] = torch.tensor(a.segments)
        if a.window is not None:
            own = self.conventions.window == "counting oneself"
            widest = inputs["queries"].shape[2] + inputs["keys"].shape[2]
            sides = (widest if side < 0 and self.counted else side for side in a.window)
            window = tuple(side + (own and side >= 0) for side in sides)
            found["window"] = window if self.pair else window[0]
        if a.padding is not None:
            found["padding"] = polarised(a.padding, self.conventions.padding)
        found |= self.masks(a, fmt)
        found |= {name: True for name in ("weights", "lse") if getattr(a, name)}
        named = {
            self.takes[role]: v
            for role, v in found.items()
            if v is not None and self.takes.get(role)
        }
        return named | ({self.dropout: dropout} if self.dropout else {})

    def scale(self, a: Arguments) -> float | None:
        """What is handed over for the scale, None where it keeps its default."""
        if a.scale is None or not self.divides:
            return a.scale
        return 1.0 / a.scale if a.scale else float("inf")

    def masks(self, a: Arguments, fmt: torch.dtype) -> dict[str, Tensor]:
        """The boolean mask and the bias; where one argument is for both, a bias with what it hides."""
        found = {}
        bias = a.bias
        if a.mask is not None and bias is not None and self.takes["mask"] == self.takes["bias"]:
            bias = np.where(a.mask, bias, -np.inf)
        elif a.mask is not None:
            found["mask"] = polarised(a.mask, self.conventions.mask)
        if bias is not None:
            found["bias"] = torch.tensor(bias, dtype=fmt)
        return found

    def read(self, returned: Any, inputs: Inputs, a: Arguments) -> Answer:
        """The context, and what was asked for besides, among what was returned."""
        parts, places = listed(returned), self.places(returned, inputs, a)
        context = self.context(returned, places)
        others = {n: to_array(parts[place]) for n, place in places.items() if n != "output"}
        if "lse" in others and self.conventions.lse_axes == "B T H":
            others["lse"] = others["lse"].swapaxes(1, 2)
        return Answer(merge(to_array(context)), others.get("weights"), others.get("lse"))

    def without(self, *roles: str) -> Manner:
        """The same, told nothing of these roles."""
        return replace(self, takes={n: a for n, a in self.takes.items() if n not in roles})


def listed(returned: Any) -> list[Any]:
    """The parts of a tuple or list, or the one thing that was returned."""
    return list(returned) if isinstance(returned, tuple | list) else [returned]


def stored(
    parts: dict[str, Tensor], options: dict[str, Any], handing: Handing
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The same numbers, those of one tensor in another order in memory."""
    parts, options = dict(parts), dict(options)
    named = options if handing.which == "told" else parts
    for name, part in named.items():
        if isinstance(part, Tensor) and part.ndim > 1 and handing.which in ("told", name):
            named[name] = reordered(part, handing.stored)
    return parts, options


def reordered(part: Tensor, how: str) -> Tensor:
    """A tensor with the same numbers whose last two axes are exchanged in memory, or that has one more
    number behind each.
    """
    if how == "transposed":
        return part.mT.contiguous().mT
    between = torch.full_like(part, True if part.dtype == torch.bool else torch.nan)
    return torch.stack([part, between], dim=-1)[..., 0]


def joined(a: Arguments, inputs: Inputs, align: Any) -> Arguments:
    """The same with the causal flag in the mask or bias, where there is one beside it."""
    if not a.causal:
        return a
    past = visibility.causal(inputs["queries"].shape[2], inputs["keys"].shape[2], align)
    if a.mask is not None:
        return replace(a, causal=False, mask=a.mask & past)
    if a.bias is not None:
        return replace(a, causal=False, bias=np.where(past, a.bias, -np.inf))
    return a


def shares_memory(returned: Any, part: Tensor) -> bool:
    """Whether the first tensor that was returned lies in the memory of this one."""
    output = returned[0] if isinstance(returned, tuple | list) else returned
    if not isinstance(output, Tensor):
        return False
    return output.untyped_storage().data_ptr() == part.untyped_storage().data_ptr()


def polarised(seen: Any, convention: str) -> Tensor:
    """A mask, of booleans or of integers 0 and 1, in the polarity that the subject wants; or how many are
    seen, the first ones.
    """
    if convention == "counts":
        if np.any(np.diff(seen.astype(np.int64)) > 0):
            raise ValueError("real tokens behind padding cannot be told by a number")
        return torch.tensor(seen.sum(axis=-1))
    hidden = ~seen if seen.dtype == np.bool_ else 1 - seen
    return torch.tensor(hidden if convention == "hide" else seen)
