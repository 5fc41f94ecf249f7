"""Modules of other libraries, with weights: parameters as torch's, the call as a function of arrays.

Legend: B batch, T tokens, S tokens of a context, H heads, D head_dim, W = H * D.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from properties.basics.dtypes import FORMATS, Array
from properties.recognition.adapters import crossing, trials
from properties.recognition.asking import module_finding
from properties.recognition.foreign.arrays import Arrays
from properties.recognition.foreign.bridge import Bridge
from properties.subjects.call import ANSWERS, Answer, Arguments, Handing, Inputs
from properties.subjects.subject import Config, Subject
from properties.truth.parameters import Sizes, Weights

SIZES = Sizes(batch=3, tokens=5, d_in=6, heads=2, head_dim=4, context_length=7)
MATRICES = ("query", "key", "value", "out")


class Place(NamedTuple):
    """Where one of our weights lies: a parameter's name, and whether it is kept as (out, in)."""

    name: str
    turned: bool = False


class Made(NamedTuple):
    """A module of the library: its call as a function (x, *parameters, **told), without a state of its own,
    and its parameters by name, in the order of the call.
    """

    call: Callable[..., Any]
    parameters: Mapping[str, Any]


class ForeignModule(nn.Module):
    """Such a module as one of torch."""

    def __init__(self, call: Callable[..., Any], named: Mapping[str, Tensor]) -> None:
        """Keep the parameters under the library's own names."""
        super().__init__()
        self.call, self.names = call, tuple(map(inner, named))
        self.kept = nn.ParameterDict({inner(n): nn.Parameter(part) for n, part in named.items()})

    def forward(self, x: Tensor, **told: Any) -> Any:
        """Map (B, T, d_in) to (B, T, W)."""
        return self.call(x, *(self.kept[name] for name in self.names), **told)


def inner(name: str) -> str:
    """A name that torch takes for a parameter's."""
    return name.replace(".", "/")


class ForeignSubject(Subject):
    """A class of modules of another library.

    arrays: what it computes in, None for torch's tensors; places: where each of our weights lies; told:
    the arguments of its call besides x, by names of a known meaning.
    """

    family = "encoder"
    arrays: Arrays | None = None
    places: Mapping[str, Place] = {}
    told: tuple[str, ...] = ()

    @abstractmethod
    def make(self, config: Config) -> Made:
        """A module of these sizes, whose biases are there if the config asks for them."""

    def __init__(self) -> None:
        """Find out in which formats it runs, and by which conventions it is told masks."""
        self.calls: dict[Any, Made] = {}
        self.lacking = {**type(self).lacking, "dropout": "it draws by its library's own generator"}
        x = trials.random_input(SIZES.batch, SIZES.tokens, SIZES.d_in)
        self.dtypes, remarks = trials.usable_dtypes(
            lambda dtype: self.build(Config(SIZES, bias=True, dtype=dtype), None), x, tuple(FORMATS)
        )
        self.notes = (*type(self).notes, *remarks)
        self.manner = module_finding.manner(self.told, self.build, SIZES)
        self.takes, self.conventions = self.manner.takes, self.manner.conventions
        if "context" in self.takes:
            self.takes = {**self.takes, "lengths": ""}
        self.origins = {n: "trial" for n in ANSWERS if getattr(self.conventions, n)}
        if self.arrays is not None:
            module = self.build(Config(SIZES, dtype=self.dtypes[0]), None)
            crossing.cross(self, module.call, module, [x])

    def build(self, config: Config, weights: Weights | None) -> ForeignModule:
        """A module of the config's dtype; weights None leaves the initial parameters."""
        call, initial = self.called(config)
        dtype = getattr(torch, config.dtype)
        numbers = {name: np.asarray(part, np.float64) for name, part in initial.items()}
        if weights is not None:
            numbers |= self.filled(weights, numbers)
        tensors = {name: torch.tensor(part, dtype=dtype) for name, part in numbers.items()}
        return ForeignModule(call, tensors)

    def called(self, config: Config) -> Made:
        """The call of modules like this and their initial parameters, made once for all of a kind."""
        sizes = replace(config.sizes, batch=1, tokens=1, context_length=1)
        key = sizes, config.bias, config.dtype, config.odd
        if key not in self.calls:
            with nullcontext() if self.arrays is None else self.arrays.within():
                made = self.make(config)
            if self.arrays is not None:
                made = made._replace(call=Bridge(made.call, self.arrays))
            self.calls[key] = made
        return self.calls[key]

    def filled(self, weights: Weights, like: Mapping[str, Array]) -> dict[str, Array]:
        """Our weights in the shapes of the library's parameters."""
        found = {}
        for role, place in self.places.items():
            part = getattr(weights, role)
            if place.name not in like:
                continue
            if part is None:
                width = weights.query.shape[1]
                part = np.eye(width) if role == "out" else np.zeros(like[place.name].size)
            part = part.T if place.turned else part
            found[place.name] = part.reshape(like[place.name].shape)
        return found

    def collect(self, named: Mapping[str, Array], config: Config) -> Weights:
        """Arrays by the names of the module's parameters, in our layout."""
        found: dict[str, Any] = {}
        for role, place in self.places.items():
            part = named.get(f"kept.{inner(place.name)}")
            if part is not None and role in MATRICES:
                width = config.sizes.width_of(role)
                part = part.reshape(width, -1).T if place.turned else part.reshape(-1, width)
            found[role] = part if part is None or role in MATRICES else part.reshape(-1)
        return Weights(**found)

    def ask(self, module: Any, inputs: Inputs, arguments: Arguments, dtype: str) -> Answer:
        """The answer of the module itself."""
        manner = replace(self.manner, conventions=self.conventions)
        return manner.ask(module, inputs, arguments, dtype, Handing())

    def context_gradients(
        self, module: Any, inputs: Inputs, arguments: Arguments, upstream: Array, dtype: str
    ) -> dict[str, Array]:
        """By x and the context."""
        manner = replace(self.manner, conventions=self.conventions)
        return manner.gradients(module, inputs, arguments, upstream, dtype)
