"""What the suite needs of another library's modules: one that is made, its parameters, and its call."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from properties.recognition.adapters.spellings import MASK
from properties.recognition.foreign.arrays import Arrays


class Opened(NamedTuple):
    """A module without a state of its own.

    call: (parameters by name, inputs, further arguments by name, training, seed) -> what it returns; seed
    is None in evaluation, else a number in an array; parameters: its arrays by their paths, "layer.kernel".
    """

    call: Callable[[Mapping[str, Any], tuple[Any, ...], Mapping[str, Any], bool, Any], Any]
    parameters: Mapping[str, Any]


class Kind(ABC):
    """One library's modules. name: as its users write it; packages: where their base class is; method: what
    is called; late: whether layers find the width of their input in a first call; by_format: whether one is
    made anew for each format; generators: the arguments of a constructor that are given a generator.
    """

    name: str
    packages: tuple[str, ...]
    method: str = "__call__"
    late: bool = False
    by_format: bool = False
    generators: tuple[str, ...] = ()

    @property
    @abstractmethod
    def arrays(self) -> Arrays | None:
        """The arrays it computes in; None for torch's tensors."""

    @abstractmethod
    def opened(self, make: Callable[[], Any], width: int, dtype: str) -> Opened:
        """What `make` gives, opened; width: of the input."""

    def generator(self, seed: Any) -> Any:
        """What such an argument is given."""
        raise NotImplementedError

    def serves(self, target: type) -> bool:
        """Whether a class is one of these modules."""
        return any(f"{base.__module__}.".startswith(self.packages) for base in target.__mro__)

    def method_of(self, target: type) -> Callable[..., Any]:
        """What is called, of a class."""
        found: Callable[..., Any] = getattr(target, self.method)
        return found


def nested(paths: Mapping[str, Any]) -> dict[str, Any]:
    """Values by "a.b.c" as dicts in dicts."""
    tree: dict[str, Any] = {}
    for path, value in paths.items():
        *parents, last = path.split(".")
        place = tree
        for part in parents:
            place = place.setdefault(part, {})
        place[last] = value
    return tree


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dicts in dicts as values by "a.b.c"."""
    found: dict[str, Any] = {}
    for name, value in tree.items():
        found |= (
            flat(value, f"{prefix}{name}.")
            if isinstance(value, Mapping)
            else {f"{prefix}{name}": value}
        )
    return found


def required(method: Callable[..., Any]) -> list[str]:
    """The inputs that have to be given."""
    parameters = inspect.signature(method).parameters.values()
    taken = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [p.name for p in parameters if p.kind in taken and p.default is p.empty]


def first_inputs(method: Callable[..., Any], x: Any) -> list[Any]:
    """What a first call is given: tokens, and nothing for a mask that has to be given."""
    return [None if MASK.search(name) else x for name in required(method)]
