"""Which classes are attention: their name says so, or their code makes or takes queries, keys and values.

Nothing is built here; code is read. A block that contains an attention module is not one.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
import textwrap
from collections.abc import Iterator
from functools import cache
from typing import Any, TypeGuard

from torch import nn

from properties.recognition.adapters import calls
from properties.recognition.adapters.handed_layers import CALLED
from properties.recognition.adapters.spellings import LETTER, fused_order, normalise, parameter_role
from properties.recognition.foreign.classes import kinds

NAME = re.compile(r"att(n|ention|end)|multi_?head|mha", re.IGNORECASE)
CONTAINER = re.compile(
    r"block|layer|transformer|encoder|decoder|model|gpt|network|pool|config|cache|mask",
    re.IGNORECASE,
)
SOFTMAX = re.compile(r"softmax|scaled_dot_product_attention", re.IGNORECASE)
HEADS = re.compile(r"(multi|attn|attention|self)*heads?(list|modules)?")


def is_attention(candidate: type) -> bool:
    """Whether a class is attention: by its name, or by the names of what it keeps or is called with."""
    return says_attention(candidate) or makes_projections(candidate) or takes_projections(candidate)


def says_attention(candidate: type) -> bool:
    """Whether the name says so, and not that it is something around attention.

    An attention layer may be either: it is attention if it computes the weights itself.
    """
    name = candidate.__name__
    if not can_be_called(candidate) or not NAME.search(name):
        return False
    return not CONTAINER.search(name) or bool(SOFTMAX.search(ast.unparse(parsed(candidate))))


def weighs(candidate: type) -> bool:
    """Whether its own code computes a softmax, as that of attention does."""
    return has_forward(candidate) and bool(SOFTMAX.search(ast.unparse(parsed(candidate))))


def takes_projections(candidate: Any) -> bool:
    """Whether its forward has to be given queries, keys and values, and it is no block around attention."""
    if not has_forward(candidate) or CONTAINER.search(candidate.__name__):
        return False
    kind = kinds.by_base(candidate)
    method = candidate.forward if kind is None else kind.method_of(candidate)
    call = calls.signature(method, skipped=1)
    return call is not None and bool(call.tokens)


def can_be_called(candidate: type) -> bool:
    """Whether its instances are modules, torch's or those of another library."""
    return issubclass(candidate, nn.Module) or kinds.by_base(candidate) is not None


def has_forward(candidate: type) -> bool:
    """Whether it is a module with a forward, not only a base that holds layers for others."""
    if kinds.by_base(candidate) is not None:
        return True
    return issubclass(candidate, nn.Module) and candidate.forward is not nn.Module.forward


def makes_projections(candidate: type, depth: int = 0) -> bool:
    """Whether it keeps a query, a key and a value projection, or a list of heads that do."""
    if not has_forward(candidate) or depth > 3:
        return False
    kept = dict(attributes(candidate))
    found = {parameter_role(name) or "" for name in kept}
    found |= {
        role for role, letter in LETTER.items() for n in kept if letter in fused_of(n, kept[n])
    }
    if set(LETTER) <= found:
        return True
    return any(
        makes_projections(element, depth + 1)
        for name, value in kept.items()
        if HEADS.fullmatch(normalise(name))
        for element in called_classes(value, candidate)
    )


def fused_of(name: str, value: ast.expr) -> str:
    """The order in which one layer for several roles serves them, if `value` makes a layer.

    `self.attn` is such a layer in some code and a whole module in most: only linear layers count, and
    those that are handed over by a name of such a layer.
    """
    text = ast.unparse(value)
    handed = isinstance(value, ast.Name) and CALLED.search(text)
    linear = handed or re.search("linear|dense|parameter", text, re.IGNORECASE)
    return fused_order(name) if linear else ""


def attributes(candidate: type) -> Iterator[tuple[str, ast.expr]]:
    """Each `self.name = value` in the class and those it is derived from, up to nn.Module."""
    for base in candidate.__mro__:
        if base.__module__.startswith(("torch.", *kinds.packages())):
            break
        for node in ast.walk(parsed(base)):
            if isinstance(node, ast.Assign):
                for target in node.targets:
                    each = assigned(target, node.value)
                    yield from ((t.attr, value) for t, value in each if is_attribute(t))
            elif isinstance(node, ast.AnnAssign) and node.value and is_attribute(node.target):
                yield node.target.attr, node.value


def assigned(target: ast.expr, value: ast.expr) -> Iterator[tuple[ast.expr, ast.expr]]:
    """What is assigned to, each with its value; with the whole where that is not one for each."""
    targets = target.elts if isinstance(target, ast.Tuple) else [target]
    values = value.elts if isinstance(value, ast.Tuple) else []
    yield from zip(
        targets, values if len(values) == len(targets) else [value] * len(targets), strict=True
    )


def is_attribute(target: ast.expr) -> TypeGuard[ast.Attribute]:
    """Whether an assignment is to an attribute."""
    return isinstance(target, ast.Attribute)


@cache
def parsed(candidate: type) -> ast.AST:
    """The code of a class; an empty module where there is none to read."""
    try:
        return ast.parse(textwrap.dedent(inspect.getsource(candidate)))
    except (OSError, TypeError, SyntaxError):  # built at run time: only its name can tell
        return ast.Module([], [])


def attention_inside(candidate: type) -> type | None:
    """The class of attention that its code makes an object of; None for none."""
    made = called_classes(parsed(candidate), candidate)
    return next((each for each in made if says_attention(each)), None)


def called_classes(value: ast.AST, owner: type) -> Iterator[type]:
    """The classes that are called inside an expression, by a name or as nn.Linear, as the owner's module
    knows them.
    """
    for node in ast.walk(value):
        if isinstance(node, ast.Call):
            found = known_as(node.func, sys.modules.get(owner.__module__))
            if isinstance(found, type):
                yield found


def known_as(name: ast.expr, module: Any) -> Any:
    """What a module knows by a name with dots; None for nothing, or another expression."""
    if isinstance(name, ast.Attribute):
        return getattr(known_as(name.value, module), name.attr, None)
    return getattr(module, name.id, None) if isinstance(name, ast.Name) else None
