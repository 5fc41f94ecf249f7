"""Operators that cosmic-ray has not: weaken a law, or leave a step of attention out.

Each one names the node of the parse tree that it may replace and the code that comes in its place.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator
from typing import ClassVar

import parso
from cosmic_ray.operators.operator import Example, Operator
from parso.tree import NodeOrLeaf

ASSERTIONS = {"near": "0.0", "same_output": "0.0", "require": "None"}
"""A call, and what it gives where all is well."""
ALLOWED = {"near": (3,), "Near": (1,), "Budget": (0,), "GradientBudget": (0,)}
"""Calls, and which of their arguments are allowed errors."""
ERRORS = {
    "product_error",
    "affine_error",
    "sum_error",
    "dot_error",
    "times_error",
    "share_error",
    "turn_error",
    "gamma",
    "gammas",
}
"""Functions of `properties.truth.bounds` whose result is one term of a budget."""
ZERO = {"0.0", "claimed(probe, 0.0)"}  # a thousand times as much is the same
SIMPLE = {"expr_stmt", "atom_expr"}  # statements that can be left out


class Replacement(Operator):
    """Puts other code in the place of a node, which keeps the whitespace before it."""

    @abstractmethod
    def replacements(self, node: NodeOrLeaf) -> Iterable[str]:
        """The code to put in the place of `node`, one for each mutant; usually none."""

    def mutation_positions(self, node: NodeOrLeaf) -> Iterator[tuple[tuple[int, int], ...]]:
        """The extent of the node, once for each mutant of it."""
        for _ in self.replacements(node):
            yield node.start_pos, node.end_pos

    def mutate(self, node: NodeOrLeaf, index: int) -> NodeOrLeaf:
        """The other code, as a tree."""
        prefix = node.get_first_leaf().prefix
        return parso.parse(prefix + list(self.replacements(node))[index])


class DropAssertion(Replacement):
    """What the law asserts is not looked at."""

    def replacements(self, node: NodeOrLeaf) -> Iterable[str]:
        """For near(...) no share of its budget, for require(...) nothing."""
        name = called(node)
        return [ASSERTIONS[name]] if name in ASSERTIONS else []

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Before and after."""
        return (
            Example("return near(a, b, c, d, e)", "return 0.0"),
            Example("def f():\n    require(a, b, c)\n", "def f():\n    None\n"),
        )


class WidenArgument(Replacement):
    """An allowed error that is handed on grows a thousandfold."""

    def replacements(self, node: NodeOrLeaf) -> Iterable[str]:
        """The call with one of its allowed errors multiplied."""
        name = called(node)
        if name not in ALLOWED:
            return
        given = arguments(node)
        head = "".join(child.get_code() for child in node.children[:-1]).strip()
        for index in ALLOWED[name]:
            if index < len(given) and given[index] not in ZERO and given[index][0] != "*":
                wider = [*given[:index], f"1000.0 * ({given[index]})", *given[index + 1 :]]
                yield f"{head}({', '.join(wider)})"

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Before and after."""
        return (
            Example("near(a, b, c, d, e)", "near(a, b, c, 1000.0 * (d), e)"),
            Example("Near(value, error)", "Near(value, 1000.0 * (error))"),
        )


class WidenTerm(Replacement):
    """One term of a budget grows a thousandfold."""

    def replacements(self, node: NodeOrLeaf) -> Iterable[str]:
        """The call, multiplied."""
        return [f"(1000.0 * {node.get_code(False)})"] if called(node) in ERRORS else []

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Before and after."""
        return (Example("x = y + gamma(n, fmt)", "x = y + (1000.0 * gamma(n, fmt))"),)


class WidenReturn(Replacement):
    """The bound that a function returns grows a thousandfold."""

    def replacements(self, node: NodeOrLeaf) -> Iterable[str]:
        """The statement with its value multiplied, in functions of an array or a number."""
        if node.type != "return_stmt":
            return []
        function = node.search_ancestor("funcdef")
        returned = function and function.annotation
        if not returned or returned.get_code(False) not in ("Array", "float"):
            return []
        return [f"return 1000.0 * ({node.children[1].get_code(False)})"]

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Before and after."""
        return (
            Example(
                "def f() -> float:\n    return x\n", "def f() -> float:\n    return 1000.0 * (x)\n"
            ),
        )


class EmptyCondition(Replacement):
    """No example ever counts."""

    def replacements(self, node: NodeOrLeaf) -> Iterable[str]:
        """The argument `counts` with a condition that never holds."""
        if node.type != "argument" or node.children[0].get_code(False) != "counts":
            return []
        condition = node.children[2].get_code(False)
        return [f'counts=type({condition})("nothing", lambda case: False)']

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Before and after."""
        return (Example("f(counts=MANY)", 'f(counts=type(MANY)("nothing", lambda case: False))'),)


class EmptyComprehension(Replacement):
    """A comprehension goes over nothing."""

    def replacements(self, node: NodeOrLeaf) -> Iterable[str]:
        """The clause `for ... in ...` with an empty tuple at its end."""
        if node.type not in ("sync_comp_for", "comp_for"):
            return []
        if node.type == "comp_for" and node.children[0].get_code(False) != "for":
            return []  # "async for"
        target = node.children[1].get_code(False)
        rest = "".join(child.get_code() for child in node.children[4:])
        return [f"for {target} in (){rest}"]

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Before and after."""
        return (Example("[x for x in y if x]", "[x for x in () if x]"),)


class DropStatement(Replacement):
    """A step is left out."""

    def replacements(self, node: NodeOrLeaf) -> Iterable[str]:
        """Nothing, in place of a call or an assignment within a function."""
        within = node.search_ancestor("funcdef", "classdef")
        stands_alone = node.parent is not None and node.parent.type == "simple_stmt"
        if node.type not in SIMPLE or not stands_alone or within is None:
            return []
        return ["pass"] if within.type == "funcdef" else []

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Before and after."""
        return (Example("def f():\n    x = 1\n", "def f():\n    pass\n"),)


class DropKeyword(Replacement):
    """An argument is left to its default."""

    def replacements(self, node: NodeOrLeaf) -> Iterable[str]:
        """The call without one of its arguments by name."""
        if called(node) is None:
            return
        given = arguments(node)
        head = "".join(child.get_code() for child in node.children[:-1]).strip()
        for index, text in enumerate(given):
            if text.partition("=")[0].strip().isidentifier() and "=" in text:
                yield f"{head}({', '.join(given[:index] + given[index + 1 :])})"

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Before and after."""
        return (Example("f(x, dim=-1)", "f(x)"),)


def called(node: NodeOrLeaf) -> str | None:
    """The name of the function or method that the node calls last; None if it is no call."""
    if node.type != "atom_expr" or node.children[-1].type != "trailer":
        return None
    if node.children[-1].children[0].value != "(":
        return None
    return node.children[-2].get_last_leaf().value


def arguments(call: NodeOrLeaf) -> list[str]:
    """The code of each argument of a call."""
    inside = call.children[-1].children[1:-1]
    if not inside:
        return []
    listed = inside[0].children if inside[0].type == "arglist" else inside
    return [child.get_code(False) for child in listed if child.get_code(False) != ","]


class Provider:
    """What cosmic-ray asks for operators of ours, `law/...`."""

    operators: ClassVar[dict[str, type[Operator]]] = {
        operator.__name__: operator
        for operator in (
            DropAssertion,
            WidenArgument,
            WidenTerm,
            WidenReturn,
            EmptyCondition,
            EmptyComprehension,
            DropStatement,
            DropKeyword,
        )
    }

    def __iter__(self) -> Iterator[str]:
        return iter(self.operators)

    def __getitem__(self, name: str) -> type[Operator]:
        return self.operators[name]
