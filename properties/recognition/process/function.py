"""A program as a function of torch tensors, with its own derivatives if it answers for them.

Legend: B batch, H query heads, G key-value heads, T queries, S keys, D head_dim, E width of a value.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from inspect import Parameter, Signature
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from properties.basics.errors import QuestionError
from properties.recognition.foreign.arrays import Arrays
from properties.recognition.foreign.bridge import Bridge
from properties.recognition.process.messages import (
    ARGUMENTS,
    Hello,
    MessageError,
    hello,
    tensor,
    written,
)
from properties.recognition.process.modules import SEEDS, ProgramModule, module_class
from properties.recognition.process.program import Program, ProgramError, RefusedError

PARTS = ("query", "key", "value")
FULL = {"mask": "BHTS", "bias": "BHTS", "padding": "BS"}
EXAMPLES = (
    "docs/protocol.md has the protocol, examples/process a program in Python, C and JavaScript"
)


class ProgramArrays(Arrays):
    """The arrays of the protocol."""

    name = "the protocol of docs/protocol.md"
    roots = frozenset()

    def __init__(self, derives: bool) -> None:
        """derives: whether the program answers for gradients."""
        self.derives, self.draws = derives, True

    def array(self, tensor: Tensor) -> Any:
        """As a message has it."""
        return written(tensor)


class Process(Bridge):
    """attention(query, key, value, ...) by a program that answers JSON lines; see docs/protocol.md.

    Called with query (B, H, T, D), key (B, G, S, D) and value (B, G, S, E), torch tensors on the CPU, it
    returns the context (B, H, T, E), or a tuple of that and the weights or the log-sum-exp, where they
    were asked for. Where it takes documents, these are (N, H, D), (M, G, D), (M, G, E) and (N, H, E). The
    program is run until this one ends, and anew where it has ended by itself.
    """

    def __init__(self, command: str, folder: str | None = None) -> None:
        """command: as it would be typed, but no shell reads it; folder: where it is run, the working
        directory unless another is given. QuestionError where it says no hello.
        """
        self.command, self.folder = command, folder or os.getcwd()
        self.__name__ = self.__qualname__ = "process"
        try:
            self.program = Program(command, self.folder)
        except ValueError as error:
            raise unusable(command, f"cannot be read as a command: {error}") from error
        weakref.finalize(self, self.program.close, 0.0)  # or at the end of this process
        self.hello = self.greeted()
        self.left: dict[str, list[tuple[int, int]]] = {"modules": [], "states": []}
        self.arrays = ProgramArrays(self.hello.gradients)
        takes = {*self.hello.takes, *["documents_of_keys"] * ("documents" in self.hello.takes)}
        named = [ARGUMENTS[role] for role in ARGUMENTS if role in takes]
        kind = Parameter.POSITIONAL_OR_KEYWORD
        self.__signature__ = Signature(
            [Parameter(name, kind) for name in PARTS]
            + [Parameter(name, kind, default=None) for name in named]
        )

    @cached_property
    def module(self) -> type[ProgramModule]:
        """The class of the program's modules; TypeError where it does not say that it has any."""
        if self.hello.module is None:
            raise TypeError(f"the program {self.command!r} does not say that it has modules")
        return module_class(self)

    def greeted(self) -> Hello:
        """What the program says of itself; QuestionError where that is no hello."""
        try:
            return hello(self.program.ask({"do": "hello", "protocol": 1}))
        except RefusedError as error:
            raise unusable(self.command, f"refuses hello: {error}") from error
        except (ProgramError, MessageError) as error:
            self.program.close(0.0)
            raise unusable(self.command, f"{error}") from error

    def __call__(self, *given: Tensor, **named: Any) -> Any:
        """See the class. Raises RefusedError where the program says that it cannot, ProgramError where it
        does not answer as it has to, TypeError for what it does not say that it takes.
        """
        if self.hello.module is not None:
            raise TypeError(f"the program {self.command!r} has modules: see Process(...).module")
        parts = dict(zip(PARTS, given, strict=False))
        told = {role: named[own] for role, own in ARGUMENTS.items() if named.get(own) is not None}
        self.require(parts, told)
        tensors = parts | {role: full(told.pop(role), parts, role) for role in FULL if role in told}
        if told.get("dropout"):
            told["seed"] = int(torch.randint(SEEDS, ()))
        record: Callable[..., tuple[Tensor, ...]] = Recorded.apply
        found = record(self, tuple(tensors), told, *tensors.values())
        return found[0] if len(found) == 1 else found

    def require(self, parts: Mapping[str, Tensor], told: Mapping[str, Any]) -> None:
        """TypeError for what the program does not say that it takes, so that it is never asked."""
        dtype, (query, key) = parts["query"].dtype, (parts["query"], parts["key"])
        form = str(dtype).removeprefix("torch.")
        takes = self.hello.takes
        if form not in self.hello.formats:
            raise TypeError(f"the program does not say that it computes in {form}")
        absent = [role for role in told if role not in takes and role != "documents_of_keys"]
        if query.ndim == key.ndim and query.ndim in (3, 4):
            absent += ["groups"] * (key.shape[1] < query.shape[1] and "groups" not in takes)
            tokens = -2 if query.ndim == 4 else 0
            unequal = key.shape[tokens] != query.shape[tokens]
            absent += ["lengths"] * (unequal and "lengths" not in takes)
        mask, bias = told.get("mask"), told.get("bias")
        if isinstance(mask, Tensor) and mask.is_floating_point():
            absent.append("a mask of numbers")
        if isinstance(bias, Tensor) and not bias.is_floating_point():
            absent.append("a bias of booleans")
        if absent:
            raise TypeError(f"the program does not say that it takes {absent[0]}")

    def asked(
        self, do: str, names: Sequence[str], told: Mapping[str, Any], tensors: Sequence[Tensor]
    ) -> dict[str, Any]:
        """The answer to a message with these tensors, by their names, and with what is told besides."""
        given = dict(zip(names, tensors, strict=True))
        message = {name: written(value) for name, value in (given | dict(told)).items()}
        return self.program.ask({"do": do, **message})

    def answer(self, name: str, answer: Mapping[str, Any]) -> Tensor:
        """An array of an answer; ProgramError where it is none."""
        try:
            return tensor(name, answer.get(name))
        except MessageError as error:
            raise self.program.failed(str(error)) from error

    def __deepcopy__(self, memo: Any) -> Process:
        """Itself: a copy of a module asks the same program."""
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Elsewhere the program is run anew."""
        return Process, (self.command, self.folder)


class Recorded(torch.autograd.Function):
    """A call, and its derivatives by what the program answers to "gradients"."""

    @staticmethod
    def forward(
        ctx: Any, process: Process, names: Sequence[str], told: Mapping[str, Any], *tensors: Tensor
    ) -> tuple[Tensor, ...]:
        """The output, then the weights and the log-sum-exp as far as they were asked for and came."""
        ctx.given = process, names, told
        ctx.save_for_backward(*tensors)
        answer = process.asked("call", names, told, tensors)
        wanted = ["output", *(n for n in ("weights", "lse") if told.get(n) and n in answer)]
        found = tuple(process.answer(name, answer) for name in wanted)
        if process.hello.gradients:
            ctx.mark_non_differentiable(*found[1:])
        else:
            ctx.mark_non_differentiable(*found)
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor, *_: Any) -> tuple[Any, ...]:
        """Of sum(upstream * output) by each of the tensors that requires one."""
        process, names, told = ctx.given
        tensors = ctx.saved_tensors
        answer = process.asked(
            "gradients", (*names, "upstream"), told, (*tensors, upstream.contiguous())
        )
        wanted = ctx.needs_input_grad[3:]
        return (
            None,
            None,
            None,
            *(
                process.answer(n, answer) if needed else None
                for n, needed in zip(names, wanted, strict=True)
            ),
        )


def full(value: Any, parts: Mapping[str, Tensor], role: str) -> Any:
    """A mask, bias or padding of the full shape (B, H, T, S) or (B, S), where it can be broadcast to it."""
    query, key = parts["query"], parts["key"]
    if not isinstance(value, Tensor) or query.ndim != 4 or key.ndim != 4:
        return value
    sizes = dict(zip("BHTS", (*query.shape[:3], key.shape[2]), strict=True))
    shape = [sizes[letter] for letter in FULL[role]]
    try:
        return value.expand(shape)
    except RuntimeError:  # another size: the program has to say what it makes of it
        return value


def unusable(command: str, what: str) -> QuestionError:
    """Why a program cannot be asked at all."""
    return QuestionError(
        f"The program {command!r} {what}.\n"
        'Expected: a program that answers {"do": "hello"} and calls on standard input by one line of '
        "JSON each on standard output.\n"
        f"What to do: run it by hand, in the folder where it is to run; {EXAMPLES}."
    )
