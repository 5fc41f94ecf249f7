"""Functions of x alone: simplified self-attention.

Legend: B batch, T tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from properties.basics.dtypes import FORMATS
from properties.recognition.adapters import calls, crossing, families, messages, trials
from properties.recognition.adapters.recognise import NAME
from properties.recognition.adapters.spellings import INPUT
from properties.subjects.subject import Config, Subject
from properties.truth.parameters import Sizes, Weights

SIZES = Sizes(batch=3, tokens=5, d_in=6, heads=1, head_dim=6, context_length=7)


class PlainShell(nn.Module):
    """A function of x as a module."""

    def __init__(self, function: Callable[..., Any]) -> None:
        """Hold the function."""
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Any:
        """The function's own result."""
        return self.function(x)


class PlainSubject(Subject):
    """A function of x alone: simplified self-attention."""

    family = "plain"

    def __init__(self, function: Callable[..., Any], name: str) -> None:
        """Try out whether it takes batches, and the formats."""
        self.function, self.name = function, name
        x = trials.random_input(SIZES.batch, SIZES.tokens, SIZES.d_in)
        require_output(PlainShell(function), name, x)
        require_mixing(PlainShell(function), name, x)
        batched, unbatched, remark = trials.batches(PlainShell(function), x)
        taken = {"batched": batched, "unbatched": unbatched}
        self.capabilities = frozenset(axes for axes, works in taken.items() if works)
        call = calls.signature(function) or calls.Call(("x",), ())
        self.matched = {"x": call.required[0]}
        self.unasked = calls.unknown(call.optional) | calls.unasked(call.optional)
        self.lacking = {"module": "it is a function"} | {
            axes: remark or "such an input is refused" for axes, works in taken.items() if not works
        }
        self.dtypes, remarks = trials.usable_dtypes(
            lambda dtype: PlainShell(function), x if batched else x[0], tuple(FORMATS)
        )
        self.notes = ((remark,) if remark else ()) + remarks
        crossing.cross(self, function, PlainShell(function), [x if batched else x[0]])

    def build(self, config: Config, weights: Weights | None) -> PlainShell:
        """The function as a module; there is nothing to set."""
        return PlainShell(self.function)


def require_output(shell: PlainShell, name: str, x: Tensor) -> None:
    """QuestionError where neither a batch nor one sequence gives a tensor."""
    together, alone = (trials.run(shell, tensor) for tensor in (x, x[0]))
    if together.output is None and alone.output is None:
        raise messages.refusal(
            f"{name} gives no output for a random float32 torch tensor on the CPU: of the shape "
            f"(B, T, d_in) it {together.failure}, of the shape (T, d_in) it {alone.failure}.",
            "a torch tensor of the shape of its input",
            "name a function that turns the tensor into what it takes and its result into a tensor:",
            messages.ARRAY.format(name=name.rpartition(":")[2].rpartition(".")[2]),
        )


def require_mixing(shell: PlainShell, name: str, x: Tensor) -> None:
    """QuestionError where a function that is not called like attention makes each row of its own token."""
    if NAME.search(name.rpartition(":")[2]):
        return
    before = trials.run(shell, x).output
    after = trials.run(shell, torch.cat([x[:, :1] + 1.0, x[:, 1:]], dim=1)).output
    if before is None or after is None or before.shape[:2] != x.shape[:2]:
        return
    if bool((before[:, 1:] == after[:, 1:]).all()):
        raise messages.refusal(
            f"{name} is not attention: another first token changes no row of its output but the first.",
            "a function of x whose rows mix the tokens, or whose name says attention",
            "name the function or class that computes the weights, as FILE:NAME",
        )


def is_plain(target: Callable[..., Any]) -> bool:
    """Whether a function needs one argument, and that is the input."""
    call = calls.signature(target)
    return call is not None and len(call.required) == 1 and bool(INPUT.fullmatch(call.required[0]))


def plain(target: Callable[..., Any], name: str, family: str | None) -> Subject:
    """The subject that a function of x is; QuestionError for any family but plain."""
    families.validate(family)
    if family not in (None, "plain"):
        raise messages.refusal(
            f"{name} takes x alone and has no parameters, which is the family plain, not {family}.",
            "a class or a factory of modules for the other families",
            "leave --family out, or name a factory function:",
            messages.factory("MyAttention"),
        )
    return PlainSubject(target, name)
