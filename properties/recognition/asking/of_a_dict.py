"""Functions that are handed their matrices in a dict, as code for JAX has it: params["wq"]."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator, Sequence
from inspect import Parameter, Signature, signature
from typing import Any


class OfADict:
    """A function of a dict as one of what is in it. Scripts contain it as it is."""

    def __init__(self, function: Callable[..., Any], name: str, keys: Sequence[str]) -> None:
        """name: the argument for the dict; keys: what the function reads of it."""
        self.function, self.name, self.keys = function, name, keys
        self.__name__, self.__doc__ = getattr(function, "__name__", "function"), function.__doc__
        self.__module__, self.__wrapped__ = function.__module__, function
        known = [p for p in signature(function).parameters.values() if p.name != name]
        named = [Parameter(key, Parameter.KEYWORD_ONLY) for key in keys]
        others = [p.replace(kind=Parameter.KEYWORD_ONLY) for p in known]
        self.__signature__ = Signature([*named, *others])

    def __call__(self, **told: Any) -> Any:
        """What the function returns for a dict of these."""
        held = {key: told.pop(key) for key in self.keys}
        return self.function(**{self.name: held}, **told)


def of_a_dict(function: Callable[..., Any], required: Sequence[str]) -> Callable[..., Any]:
    """The function with the entries of a dict for arguments, where its code reads such of one that it
    requires; else the function as it is.
    """
    for name in required:
        if keys := list(dict.fromkeys(read_of(function, name))):
            return OfADict(function, name, keys)
    return function


def read_of(function: Callable[..., Any], name: str) -> Iterator[str]:
    """The keys that the code of a function reads of an argument; none where there is no code to read."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and ast.unparse(node.value) == name:
            key = getattr(node.slice, "value", None)
            if isinstance(key, str) and key.isidentifier():
                yield key
