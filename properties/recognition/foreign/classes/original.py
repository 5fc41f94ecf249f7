"""A class or factory of another library's modules: what it takes, and what a call of its modules takes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property, partial
from inspect import Parameter
from typing import Any

from properties.recognition.adapters.spellings import argument_role
from properties.recognition.foreign.classes.kind import Kind, Opened

TRAINING = {"training", "train", "is_training"}
EVALUATION = {"deterministic", "inference"}
RANDOM = {"rngs", "rng", "prng_key", "dropout_rng", "dropout_key"}
STEPWISE = {"decode"}
"""Whether a call goes on from what the module keeps of earlier tokens: never here."""
OF_CLASSES = {"parent", "name"}
"""The fields of every class of flax.linen's."""
WIDTH = "d_in"


@dataclass(frozen=True, eq=False)
class Original:
    """make: the class or factory; owner: the class of what it makes; kind: whose modules these are."""

    make: Callable[..., Any]
    owner: type
    kind: Kind

    @cached_property
    def taken(self) -> list[Parameter]:
        """What it is made by; a metaclass may hide that from a class's own signature."""
        if not isinstance(self.make, type):
            return list(inspect.signature(self.make).parameters.values())
        start = inspect.getattr_static(self.make, "__init__")
        if start is object.__init__:
            return []
        parameters = list(inspect.signature(start).parameters.values())[1:]
        return [p for p in parameters if p.name not in OF_CLASSES]

    @cached_property
    def tells_width(self) -> bool:
        """Whether it is told the width of the input, which some layers find in a first call."""
        roles = {argument_role(p.name) for p in self.taken}
        return not self.kind.late or bool(roles & {"d_in", "embed"})

    @cached_property
    def parameters(self) -> list[Parameter]:
        """The same without generators, and with the width of the input where a first call tells it."""
        kept = [p for p in self.taken if p.name not in self.kind.generators]
        return kept if self.tells_width else [*kept, Parameter(WIDTH, Parameter.KEYWORD_ONLY)]

    @cached_property
    def called(self) -> list[Parameter]:
        """What a call of a module takes besides self."""
        return list(inspect.signature(self.kind.method_of(self.owner)).parameters.values())[1:]

    def is_mode(self, parameter: Parameter) -> bool:
        """Whether an argument of a call says in which mode it is made, or hands over a generator."""
        name, alone = parameter.name, parameter.kind is Parameter.KEYWORD_ONLY
        generates = name in RANDOM or (alone and name in self.kind.generators)
        return generates or name in TRAINING | EVALUATION | STEPWISE

    def modes(self, training: bool, seed: Any) -> dict[str, Any]:
        """The values of these arguments; seed: None in evaluation, where there is no generator."""
        values = dict.fromkeys(TRAINING, training) | dict.fromkeys(EVALUATION, not training)
        values |= dict.fromkeys(STEPWISE, False)
        found = {}
        for name in (p.name for p in self.called if self.is_mode(p)):
            if name in values:
                found[name] = values[name]
            elif seed is not None:
                found[name] = self.kind.generator(seed)
        return found

    def opened(self, given: Mapping[str, Any], dtype: str) -> Opened:
        """The module that is made by these arguments, opened."""
        own = {n: v for n, v in given.items() if n != WIDTH or self.tells_width}
        arrays = self.kind.arrays
        with nullcontext() if arrays is None else arrays.within():
            named = {p.name for p in self.taken}
            own |= {n: self.kind.generator(0) for n in self.kind.generators if n in named}
            return self.kind.opened(partial(self.make, **own), width(given), dtype)


def width(given: Mapping[str, Any]) -> int:
    """The width of the input, by the arguments of a constructor."""
    by_role = {argument_role(name): value for name, value in given.items()}
    for role in ("d_in", "embed", "query_dim", "d_out"):
        if by_role.get(role):
            return int(by_role[role])
    return int(by_role.get("num_heads") or 1) * int(by_role.get("head_dim") or 1)
