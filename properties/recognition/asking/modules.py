"""Telling a module of tokens what a call asks: masks in the shape and polarity that its forward takes.

Legend: B batch, T tokens, H heads, W width of the output.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from properties.basics.dtypes import Array
from properties.basics.errors import OutsideError, SubjectError
from properties.recognition.asking.caches import all_that_comes
from properties.recognition.asking.functions import polarised, shares_memory
from properties.recognition.asking.on_itself import OnItself
from properties.recognition.turning.handed import hook_of
from properties.subjects.call import Answer, Arguments, Conventions, Handing, Inputs
from properties.subjects.instance import go_back, gradient_of, in_eval, kind, to_array
from properties.subjects.results import output_in
from properties.subjects.results import parts as parts_of
from properties.truth import visibility

SHAPES: Mapping[str, Callable[[Any, int], Any]] = {
    "B T T": lambda mask, heads: mask[:, 0],
    "B 1 T T": lambda mask, heads: mask,
    "T T": lambda mask, heads: mask[:, 0],
    "B*H T T": lambda mask, heads: mask.repeat(heads, axis=1).reshape(-1, *mask.shape[2:]),
}
"""A mask of pairs (B, 1, T, T), or (B, 1, T, S) of a context, as a forward may want it; heads: how many
there are. "T T" is for one item after the other, each with a mask of its own."""
KEYS: Mapping[str, Callable[[Any], Any]] = {
    "B T": lambda mask: mask,
    "B 1 T": lambda mask: mask[:, None],
    "B 1 1 T": lambda mask: mask[:, None, None],
}
"""A mask of keys (B, T), or (B, S) of a context, likewise."""
PLAINLY = {role: role for role in ("mask", "bias", "padding", "padding_numbers", "causal")}
OF_CONTEXT = {
    "mask": "context_mask",
    "bias": "context_bias",
    "padding": "context_padding",
    "padding_of_x": "padding",
    "causal": "causal",
}
"""The role by which each argument is handed over, without a context and beside one."""


@dataclass(frozen=True)
class ModuleManner:
    """How a forward is called. takes: its argument for each role; pairs: a key of `SHAPES` for the role
    of each mask of pairs, the first one unless given; keys: of `KEYS`, likewise, for that of each mask of
    keys; batched: whether x has an axis of items, else one is handed over after the other; hinted: whether
    the causal flag goes with a mask that hides the future; recording: whether gradients are recorded where
    nothing else is said; counted: whether masks are ones and zeros, where booleans are refused; always: the
    place of the weights in what comes where no argument asks for them.
    """

    takes: Mapping[str, str] = field(default_factory=dict)
    pairs: Mapping[str, str] = field(default_factory=dict)
    keys: Mapping[str, str] = field(default_factory=dict)
    conventions: Conventions = field(default_factory=Conventions)
    batched: bool = True
    hinted: bool = False
    recording: bool = False
    counted: bool = False
    always: int = 0

    def ask(
        self,
        module: nn.Module,
        inputs: Inputs,
        arguments: Arguments,
        dtype: str,
        handing: Handing | None = None,
    ) -> Answer:
        """The answer for x (B, T, d_in), and for a context (B, S, d_context) where there is one."""
        handing = Handing(gradients=self.recording) if handing is None else handing
        given = self.given(module, inputs, arguments, dtype)
        before = {name: part.clone() for name, part in given.items() if isinstance(part, Tensor)}
        start = self.starting(module, given["x"], arguments.start)
        unasked = arguments.weights and not self.takes.get("weights")
        everything = all_that_comes(module) if unasked else nullcontext()
        with torch.set_grad_enabled(handing.gradients), everything:
            returned = self.run(module.train(handing.training), given, start)
        output, others = parts(returned)
        if unasked:
            output, others = output_in(returned, given["x"]), parts_of(returned)[self.always :][:1]
        return Answer(
            self.read(output, inputs),
            weights_of(others, inputs) if arguments.weights else None,
            touched=tuple(n for n in before if not torch.equal(given[n], before[n])),
            shared=tuple(n for n in before if shares_memory(output, given[n])),
        )

    def gradients(
        self, module: nn.Module, inputs: Inputs, arguments: Arguments, upstream: Array, dtype: str
    ) -> dict[str, Array]:
        """Of sum(upstream * output), by x and by the context, where there is one; upstream is (B, T, W)."""
        given = self.given(module, inputs, arguments, dtype)
        leaves = {"x": given["x"]}
        if "context" in inputs:
            leaves["context"] = given[self.takes["context"]]
        for leaf in leaves.values():
            leaf.requires_grad_()
        output, _ = parts(self.run(in_eval(module), given))
        self.read(output, inputs)
        go_back(output, torch.tensor(upstream, dtype=output.dtype))
        return {name: gradient_of(leaf) for name, leaf in leaves.items()}

    def run(
        self, module: nn.Module, given: Mapping[str, Any], start: Mapping[str, Any] | None = None
    ) -> Any:
        """What forward returns, for one item after the other where it takes no axis of items; start: what
        is handed over with each, see `starting`.
        """
        start = start or {}
        alone = self.without_items(given)
        if self.batched and not alone:
            return called(module, {**given, **start})
        if self.batched:
            items = [
                called(module, one_of(given, item, alone) | dict(start))
                for item in range(len(given["x"]))
            ]
            return torch.cat([parts(item)[0] for item in items])
        items = [
            called(module, {n: g[item] for n, g in given.items()} | dict(start))
            for item in range(len(given["x"]))
        ]
        return torch.stack(items)

    def without_items(self, names: Iterable[str]) -> set[str]:
        """Which of these arguments are for one item, and have no axis of items: masks, and biases."""
        of_masks = [role for role, shape in self.pairs.items() if shape == "T T"]
        roles = [*of_masks, *(role.replace("mask", "bias") for role in of_masks)]
        return {self.takes[role] for role in roles if role in self.takes} & set(names)

    def handed(
        self, inputs: Inputs, arguments: Arguments, dtype: str
    ) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """What is given by position and what by name, for all heads alike."""
        options = self.given(None, inputs, arguments, dtype)
        return {"x": options.pop("x")}, options

    def given(
        self,
        module: nn.Module | None,
        inputs: Inputs,
        arguments: Arguments,
        dtype: str,
    ) -> dict[str, Any]:
        """Everything that is handed over, by the forward's own names."""
        fmt = getattr(torch, dtype)
        given: dict[str, Any] = {"x": torch.tensor(inputs["x"].copy(), dtype=fmt)}
        for role in ("context", "context_values"):
            if role in inputs:
                given[self.takes[role]] = torch.tensor(inputs[role].copy(), dtype=fmt)
        heads = getattr(module, "heads", 1)
        roles = OF_CONTEXT if "context" in inputs else PLAINLY
        tokens, keys = (inputs.get(n, inputs["x"]).shape[1] for n in ("x", "context"))
        if self.hinted and arguments.causal:
            if arguments.mask is not None or arguments.bias is not None:
                roles = {**roles, "causal": ""}  # which says that nothing else is hidden
            arguments = with_triangle(arguments, len(inputs["x"]), tokens, keys)
        given |= self.options(arguments, fmt, roles, heads)
        if self.takes.get("weights"):
            given[self.takes["weights"]] = arguments.weights
        if "averaged" in self.takes:
            given[self.takes["averaged"]] = arguments.averaged
        return given

    def options(
        self,
        a: Arguments,
        fmt: torch.dtype,
        roles: Mapping[str, str],
        heads: int = 1,
    ) -> dict[str, Any]:
        """The arguments by the forward's own names; what one argument is told twice is joined.

        roles: the role of each argument; heads: how many there are.
        """
        mask, bias, padding = a.mask, a.bias, a.padding
        of = {name: self.takes.get(role) for name, role in roles.items()}
        if mask is not None and padding is not None and of["mask"] == of["padding"]:
            mask, padding = mask & padding[:, None, None, :], None
        if mask is not None and bias is not None and of["mask"] == of["bias"]:
            bias, mask = np.where(mask, bias, -np.inf), None
        pairs = self.pairs.get(roles["mask"], next(iter(SHAPES)))
        found: dict[str, Any] = {}
        if mask is not None:
            found["mask"] = shaped(mask, pairs, heads)
        if bias is not None:
            found["bias"] = shaped(bias, pairs, heads)
        if padding is not None:
            found["padding"] = KEYS[self.keys.get(roles["padding"], "B T")](padding)
        if a.padding_numbers is not None:
            shape = KEYS[self.keys.get(roles["padding"], "B T")]
            found["padding_numbers"] = shape(a.padding_numbers)
        if a.padding_of_x is not None:
            found["padding_of_x"] = a.padding_of_x
        named: dict[str, Any] = {
            self.takes[roles[name]]: self.told(roles[name], array, fmt)
            for name, array in found.items()
        }
        if a.segments is not None:
            named[self.takes["segments"]] = torch.tensor(a.segments)
        if of["causal"]:
            named[of["causal"]] = bool(a.causal)
        return named

    def starting(self, module: nn.Module, x: Tensor, start: int | None) -> dict[str, Any]:
        """What says at which position x begins; nothing where nothing was told."""
        if start is None:
            return {}
        handed = hook_of(module)
        return handed.made(x, start) if handed else {self.takes["start"]: start}

    def told(self, role: str, array: Any, fmt: torch.dtype) -> Tensor:
        """Numbers as they are, booleans in the polarity of their role."""
        if role in ("bias", "context_bias") or np.issubdtype(array.dtype, np.floating):
            return torch.tensor(array, dtype=fmt)
        truth = polarised(array, getattr(self.conventions, role))
        return truth.to(fmt) if self.counted else truth

    def read(self, output: Any, inputs: Inputs) -> Array:
        """The output (B, T, W)."""
        batch, tokens = inputs["x"].shape[:2]
        if not isinstance(output, Tensor) or output.shape[:-1] != (batch, tokens):
            expected = f"a tensor ({batch}, {tokens}, W)"
            raise SubjectError(f"the call returned {kind(output)}; expected {expected}")
        return to_array(output)


def one_of(given: Mapping[str, Any], item: int, whole: set[str]) -> dict[str, Any]:
    """What one item is told, with an axis of items, but for what has none."""
    return {
        name: (part[item] if name in whole else part[item : item + 1])
        if isinstance(part, Tensor)
        else part
        for name, part in given.items()
    }


def called(module: nn.Module, given: Mapping[str, Any]) -> Any:
    """What forward returns."""
    options = {name: value for name, value in given.items() if name != "x"}
    if not isinstance(module, OnItself):
        return module(given["x"], **options)
    return module.told(given["x"], **options)


def parts(returned: Any) -> tuple[Any, list[Any]]:
    """The output, which is the first of what is returned, and the others."""
    if isinstance(returned, tuple | list) and returned:
        return returned[0], list(returned[1:])
    return returned, []


def weights_of(others: list[Any], inputs: Inputs) -> Array | None:
    """The first tensor that is (B, H, T, S) or (B, T, S)."""
    batch, tokens = inputs["x"].shape[:2]
    keys = inputs.get("context", inputs["x"]).shape[1]
    for part in others:
        shape = tuple(part.shape) if isinstance(part, Tensor) else ()
        if len(shape) in (3, 4) and (shape[0], *shape[-2:]) == (batch, tokens, keys):
            return to_array(part)
    return None


def with_triangle(a: Arguments, batch: int, tokens: int, keys: int) -> Arguments:
    """The same with the causal triangle beside whatever else is hidden."""
    past = visibility.causal(tokens, keys)
    mask = np.broadcast_to(past, (batch, 1, tokens, keys)) if a.mask is None else a.mask & past
    return replace(a, mask=mask)


def shaped(mask: Any, pairs: str, heads: int = 1) -> Any:
    """A mask of pairs for all heads alike, as the forward wants it.

    OutsideError for one that differs between heads, and for one without items or heads, which
    could be taken for a mask of keys.
    """
    if mask.ndim != 4 or not np.array_equal(mask, np.broadcast_to(mask[:, :1], mask.shape)):
        raise OutsideError(f"a mask {mask.shape} was not tried, (B, 1, T, T) was")
    return np.ascontiguousarray(SHAPES[pairs](mask[:, :1], heads))
