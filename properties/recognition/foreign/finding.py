"""Whether a function wants other arrays than torch tensors, and which.

Its package says so, or its annotations, or the modules that its code names; else a trial, where
tensors were refused.
"""

from __future__ import annotations

import inspect
import pkgutil
import re
from collections.abc import Callable, Collection, Iterator
from functools import cache
from importlib import import_module
from types import CodeType, ModuleType
from typing import Any

import numpy as np

from properties.basics import interrupts
from properties.recognition.adapters.spellings import argument_role
from properties.recognition.asking.roles import role
from properties.recognition.foreign import keras_arrays
from properties.recognition.foreign.arrays import Arrays, root
from properties.recognition.foreign.bridge import Bridge

SHAPES = ((3, 2, 5, 4), (6, 5, 4), (5, 4))
BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
FURTHER: dict[str | None, Any] = {
    "num_heads": 2,
    "kv_heads": 2,
    "causal": False,
    "dropout": 0.0,
    "scale": 0.5,
    "mask": np.ones((5, 5), dtype=np.bool_),
    "bias": np.zeros((5, 5), dtype=np.float32),
}
"""What a trial gives for what a function requires besides, by role."""


@cache
def kinds() -> tuple[Arrays, ...]:
    """Every kind of array that has a file here."""
    package = __name__.rpartition(".")[0]
    home = import_module(package)
    modules = [import_module(f"{package}.{m.name}") for m in pkgutil.iter_modules(home.__path__)]
    return tuple(m.ARRAYS for m in modules if hasattr(m, "ARRAYS"))


def bridged(target: Callable[..., Any], inputs: int) -> Bridge | None:
    """The function as one of tensors, if it says that it wants another library's arrays; else None.

    inputs: how many arrays it needs, a fourth one for its output. What its code names is held against a
    trial: q / np.sqrt(d) may be torch's.
    """
    if arrays := said(target):
        return Bridge(target, arrays)
    return tried(target, inputs) if of_modules(set(modules_in(inspect.unwrap(target)))) else None


def said(target: Callable[..., Any]) -> Arrays | None:
    """Which arrays a function takes by its package or annotations; None for tensors, or for no word."""
    own = named([root(target)])
    if own is not None:
        return own
    inner = inspect.unwrap(target)
    annotations = [text(a) for a in getattr(inner, "__annotations__", {}).values()]
    words = set(re.findall(r"\w+", " ".join(annotations).replace("jnp", "jax")))
    if words & {"torch", "Tensor"}:
        return None
    if words & {"ndarray", "NDArray", "ArrayLike"} and "jax" not in words:
        return named(["numpy"])
    return named(words)


def text(annotation: Any) -> str:
    """An annotation as it would be written, with the package of a class."""
    if isinstance(annotation, type) and not hasattr(annotation, "__origin__"):
        return f"{annotation.__module__}.{annotation.__qualname__}"
    return str(annotation)


def of_modules(roots: set[str]) -> Arrays | None:
    """What a function computes with that names these packages: others than NumPy come first."""
    if "torch" in roots:
        return None
    return named(roots - {"numpy", "scipy"}) or named(roots)


def modules_in(function: Any) -> Iterator[str]:
    """The packages of the modules, and of what comes from them, that a function's code names."""
    code, known = getattr(function, "__code__", None), getattr(function, "__globals__", {})
    for name in names_in(code) if isinstance(code, CodeType) else ():
        value = known.get(name)
        if isinstance(value, ModuleType):
            yield value.__name__.partition(".")[0]
        elif callable(value):
            yield root(value)


def names_in(code: CodeType) -> Iterator[str]:
    """The names that code looks up, with those of the functions inside it."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from names_in(constant)


def named(roots: Collection[str]) -> Arrays | None:
    """The kind of array of one of these packages."""
    if keras_arrays.PACKAGES & set(roots):
        return keras_arrays.chosen()
    return next((kind for kind in kinds() if kind.roots & set(roots)), None)


def further(target: Callable[..., Any], inputs: int) -> dict[str, Any]:
    """Values for a trial of the arguments that a function requires behind its arrays, as far as known."""
    try:
        parameters = list(inspect.signature(target).parameters.values())[inputs:]
    except (TypeError, ValueError):
        return {}
    needed = [p.name for p in parameters if p.default is p.empty and p.kind in BY_NAME]
    roles = {name: role(name) or argument_role(name) for name in needed}
    return {name: FURTHER[known] for name, known in roles.items() if known in FURTHER}


def tried(target: Callable[..., Any], inputs: int) -> Bridge | None:
    """A function that takes NumPy's arrays and gives some library's, as one of tensors; else None."""
    for shape in SHAPES:
        rng = np.random.default_rng(0)
        given = [rng.normal(size=shape).astype(np.float32) for _ in range(inputs)]
        try:
            returned = target(*given, **further(target, inputs))
        except BaseException as error:  # a refusal is an answer, too
            interrupts.subjects_own(error)
            continue
        parts = returned if isinstance(returned, tuple | list) else [returned]
        parts = given[3:] if returned is None else parts  # what it may have written into
        for kind in kinds():
            if any(kind.is_array(part) and part.shape for part in parts):
                return Bridge(target, kind)
    return None
