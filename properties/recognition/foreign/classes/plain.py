"""Objects that hold arrays: classes with no base of a library's, as they are written in NumPy."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from properties.recognition.adapters.spellings import MASK
from properties.recognition.foreign import finding
from properties.recognition.foreign.arrays import Arrays
from properties.recognition.foreign.classes.kind import Kind, Opened


class Plain(Kind):
    """A class whose code names NumPy, JAX or MLX; kind_of_arrays: whose arrays it computes in."""

    packages = ()
    generators = ("rng",)

    def __init__(self, kind_of_arrays: Arrays) -> None:
        self.kind_of_arrays = kind_of_arrays
        self.name = kind_of_arrays.name

    @property
    def arrays(self) -> Arrays:
        """As its code says."""
        return self.kind_of_arrays

    def generator(self, seed: Any) -> Any:
        """NumPy's."""
        import numpy as np

        return np.random.default_rng(seed)

    def method_of(self, target: type) -> Callable[..., Any]:
        """forward, where there is one."""
        found: Callable[..., Any] = getattr(target, "forward", None) or target.__call__
        return found

    def opened(self, make: Callable[[], Any], width: int, dtype: str) -> Opened:
        """Arrays of numbers among its attributes, and those of the objects among them."""
        made = make()
        method = self.method_of(type(made)).__name__

        def call(
            weights: Mapping[str, Any], given: Any, named: Any, training: bool, seed: Any
        ) -> Any:
            return getattr(with_arrays(made, weights), method)(*given, **named)

        return Opened(call, held(made, self.arrays))


def held(owner: Any, arrays: Arrays, prefix: str = "", depth: int = 2) -> dict[str, Any]:
    """The arrays of floating-point numbers that an object holds, by the names of attributes; a mask is no
    parameter.
    """
    found: dict[str, Any] = {}
    for name, value in vars(owner).items():
        if arrays.is_array(value):
            if "float" in str(value.dtype) and value.shape and not MASK.search(name):
                found[f"{prefix}{name}"] = value
        elif depth and is_object(value):
            found |= held(value, arrays, f"{prefix}{name}.", depth - 1)
    return found


def is_object(value: Any) -> bool:
    """Whether a value holds attributes of its own, and is no function, class or package."""
    return hasattr(value, "__dict__") and not (
        inspect.isroutine(value) or inspect.ismodule(value) or isinstance(value, type)
    )


def with_arrays(owner: Any, named: Mapping[str, Any]) -> Any:
    """A copy that holds these arrays in place of its own."""
    other = copy.copy(owner)
    inner: dict[str, dict[str, Any]] = {}
    for path, value in named.items():
        first, _, rest = path.partition(".")
        if rest:
            inner.setdefault(first, {})[rest] = value
        else:
            setattr(other, first, value)
    for name, parts in inner.items():
        setattr(other, name, with_arrays(getattr(owner, name), parts))
    return other


def of_class(target: type) -> Plain | None:
    """The kind of a class that has a call, and whose methods name a library of arrays."""
    if not any({"forward", "__call__"} & set(vars(base)) for base in target.__mro__):
        return None
    methods = [m for base in target.__mro__ for m in vars(base).values() if inspect.isfunction(m)]
    arrays = finding.of_modules({root for method in methods for root in finding.modules_in(method)})
    return None if arrays is None else Plain(arrays)
