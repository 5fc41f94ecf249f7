"""Functions of tokens and of matrices, as lectures write them: a module holds what they take.

Legend: B batch, T tokens, W width of the output.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from inspect import Parameter, Signature, signature
from typing import Any

import torch
from torch import Tensor, nn

from properties.recognition.adapters import calls, trials
from properties.recognition.adapters.spellings import (
    INPUT,
    LETTER,
    argument_role,
    bias_role,
    fused_order,
    parameter_role,
)
from properties.recognition.asking.of_a_dict import of_a_dict
from properties.recognition.foreign import finding
from properties.recognition.foreign.bridge import Bridge

NUMBERS = ("num_heads", "kv_heads", "head_dim", "embed", "d_in", "d_out", "causal")
"""What such a function may be told besides, by role, as a constructor is."""


class Calling:
    """What a module that holds matrices does with x. Scripts contain it as it is."""

    def __init__(
        self,
        module: nn.Module,
        function: Callable[..., Any],
        tokens: tuple[str, ...],
        held: dict[str, str],
        told: dict[str, Any],
    ) -> None:
        """tokens: what the function calls x, or queries, keys and values; held: each of its matrices, with
        the name that it has in the module; told: its other arguments.
        """
        self.module, self.function, self.tokens = module, function, tokens
        self.held, self.told = held, told
        known = signature(function).parameters
        first = [known[name].replace(kind=Parameter.POSITIONAL_OR_KEYWORD) for name in tokens]
        others = [p for name, p in known.items() if name not in {*tokens, *held, *told}]
        others = [p.replace(kind=Parameter.KEYWORD_ONLY) for p in others]
        self.__signature__ = Signature([*first, *others])

    def __call__(self, *parts: Tensor, **options: Any) -> Any:
        """What the function returns for x ([B,] T, d_in), or for queries, keys and values."""
        held = {name: getattr(self.module, own) for name, own in self.held.items()}
        given = dict(zip(self.tokens, parts, strict=False))  # the rest of them is told by name
        return self.function(**given, **held, **self.told, **options)


class HoldingMatrices:
    """A function of x and matrices as a factory of modules. Scripts contain it as it is.

    tokens: what it calls x, or queries, keys and values; held: its matrices and biases, each with the name
    that it has in a module; parts: of each the widths that it leads to, "d_out" or "keys", in order, and
    "out" or "bias" for one of these; rows: whether a matrix is (out, in), not (in, out); numbers: what it
    may be told besides, by its own name, each with its role.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        tokens: tuple[str, ...],
        held: dict[str, str],
        parts: dict[str, tuple[str, ...]],
        rows: bool,
        numbers: dict[str, str],
    ) -> None:
        """Look like a constructor that takes widths, and these numbers."""
        self.function, self.tokens, self.held, self.parts = function, tokens, held, parts
        self.rows, self.numbers = rows, numbers
        self.__name__ = getattr(function, "__name__", "function")
        self.__doc__, self.__module__ = function.__doc__, function.__module__
        known = signature(function).parameters
        own = [known[name].replace(kind=Parameter.KEYWORD_ONLY) for name in numbers]
        widths = [] if "embed" in numbers.values() else ["d_in", "d_out"]
        first = [Parameter(n, Parameter.KEYWORD_ONLY) for n in widths if n not in numbers.values()]
        self.__signature__ = Signature([*first, *own])

    def __call__(self, **told: Any) -> nn.Module:
        """A new module with matrices of these widths."""
        named = told | {role: told[name] for name, role in self.numbers.items()}
        d_in, width = (named.get(role) or named["embed"] for role in ("d_in", "d_out"))
        heads = named.get("num_heads", 1)
        widths = {"d_out": width, "keys": width // heads * named.get("kv_heads", heads)}
        module = nn.Module()
        for name, parts in self.parts.items():
            columns = sum(widths[part] for part in parts if part in widths)
            shape = [width if "out" in parts else d_in, columns]
            shape = shape[1:] if "bias" in parts else shape[::-1] if self.rows else shape
            numbers = torch.randn(shape) / float(d_in) ** 0.5
            module.register_parameter(self.held[name], nn.Parameter(numbers))
        given = {name: value for name, value in told.items() if name in self.numbers}
        vars(module)["forward"] = Calling(module, self.function, self.tokens, self.held, given)
        return module


def holding(target: Callable[..., Any]) -> HoldingMatrices | None:
    """A factory for a function of x and of matrices for queries, keys and values that gives a row for each
    token, by matrices (in, out) or (out, in); None for any other.
    """
    call = calls.signature(target) if inspect.isfunction(target) else None
    if call is None:
        return None
    target = of_a_dict(target, call.required)
    call = calls.signature(target) or call
    named = [*call.required, *call.optional]
    tokens = tokens_of(call.required)
    numbers = {n: role for n in named if (role := argument_role(n)) in NUMBERS and n not in tokens}
    others = [name for name in named if name not in {*numbers, *tokens}]
    known = {name: matrix for name in others if (matrix := Matrix.called(name))}
    parts = {n: known[n] for n in named if n in known and (n in call.required or known[n].bias)}
    made = {role for matrix in parts.values() if not matrix.bias for role in matrix.roles}
    rest = set(call.required) - {*tokens, *numbers, *parts}
    if not tokens or rest or not set(LETTER) <= made:
        return None
    held = {name: matrix.name for name, matrix in parts.items()}
    leads = {name: matrix.leads for name, matrix in parts.items()}
    told = in_tensors(target), tokens, held, leads
    factories = [HoldingMatrices(*told, rows, numbers) for rows in (False, True)]
    widths = (8,) if "embed" in numbers.values() else (6, 8)  # of tokens; that of the output is 8
    found = (factory for d_in in widths for factory in factories if gives_rows(factory, d_in))
    return next(found, None)


def tokens_of(required: Sequence[str]) -> tuple[str, ...]:
    """The argument for x, or those for queries, keys and values, if these come first; () for neither."""
    inputs = [name for name in required if INPUT.fullmatch(name) and not argument_role(name)]
    if inputs:
        return tuple(inputs) if len(inputs) == 1 else ()
    three = [parameter_role(name) for name in required[:3]] == list(LETTER)
    return tuple(required[:3]) if three else ()


@dataclass(frozen=True)
class Matrix:
    """A matrix or a bias of a function. name: the one by which a module's would be known; roles: what it
    makes, in order; bias: whether it is a bias.
    """

    name: str
    roles: tuple[str, ...]
    bias: bool

    @classmethod
    def called(cls, name: str) -> Matrix | None:
        """What a name says; None for neither."""
        for plain, bias in ((name, bool(bias_role(name))), *ending(name)):
            role = bias_role(plain) or parameter_role(plain)
            letters = {letter: role for role, letter in LETTER.items()}
            roles = tuple(letters[letter] for letter in fused_order(plain))
            if role == "projection" and not roles:  # by which a bias would not be known
                return cls(f"out_proj{'_bias' * bias}", ("out",), bias)
            if roles or role:
                return cls(plain, roles or (str(role),), bias)
        return None

    @property
    def leads(self) -> tuple[str, ...]:
        """See `HoldingMatrices`."""
        widths = tuple("keys" if role in ("key", "value") else "d_out" for role in self.roles)
        return (*widths, *(["out"] if "out" in self.roles else []), *(["bias"] * self.bias))


def ending(name: str) -> Iterator[tuple[str, bool]]:
    """The name without the letter or word for a matrix or a bias at its end, and whether it is a bias."""
    if found := re.fullmatch(r"(\w+?)_?(b|bias|biases)", name, re.IGNORECASE):
        yield f"{found[1]}_bias", True
    if found := re.fullmatch(r"(\w+?)_?(w|weights?|mat|matrix|kernel)", name, re.IGNORECASE):
        yield found[1], False


def in_tensors(target: Callable[..., Any]) -> Callable[..., Any]:
    """The function as one of tensors, where it takes another library's arrays."""
    named = set(finding.modules_in(inspect.unwrap(target)))
    arrays = finding.said(target) or finding.of_modules(named)
    return target if arrays is None else Bridge(target, arrays)


def gives_rows(factory: HoldingMatrices, d_in: int) -> bool:
    """Whether a module gives a row for each token of a batch, or of one sequence, as wide as d_in, and
    another first token changes the last row.
    """
    values = {"num_heads": 2, "kv_heads": 2, "head_dim": 4, "embed": 8, "causal": True}
    values |= {"d_in": d_in, "d_out": 8}
    told = {name: values[factory.numbers.get(name, name)] for name in signature(factory).parameters}
    module = factory(**told)
    x, y = (trials.random_input(3, 5, d_in, seed=seed) for seed in range(2))
    other, count = torch.cat([y[:, :1], x[:, 1:]], dim=1), len(factory.tokens)
    for pair in ((x, other), (x[0], other[0])):
        found = [trials.call(module, *[tokens] * count).output_of(tokens) for tokens in pair]
        rows = [o for o in found if o is not None and o.shape[-2:] == (5, 8)]
        if len(rows) == len(found):
            return not trials.same(rows[0][..., -1, :], rows[1][..., -1, :])
    return False
