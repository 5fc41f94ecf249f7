"""Going on with a module that keeps the keys and values of earlier tokens, or hands them out.

Legend: B batch, T tokens of a step, W width of the output.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from properties.basics.dtypes import Array
from properties.basics.errors import SubjectError
from properties.recognition.asking.holders import Holder
from properties.recognition.turning.handed import hook_of
from properties.subjects.instance import in_eval, kind, to_array
from properties.subjects.results import output_in
from properties.truth.parameters import Sizes


@dataclass(frozen=True)
class CacheManner:
    """How a forward goes on from earlier tokens.

    flag: the argument that switches the cache on; past: the one for what the caller holds, which comes
    back at `place` of what is returned (0: it is a dict that forward writes to); position: the one for
    how many tokens came before, `ranged` if it wants the place of each token; reset: the method by
    which the module forgets; "" for what there is not. holder: how what the caller holds is made, where
    that is an object which forward updates.
    """

    flag: str = ""
    past: str = ""
    place: int = 1
    position: str = ""
    ranged: bool = False
    reset: str = ""
    holder: Holder | None = None

    @property
    def held_by_caller(self) -> bool:
        """Whether each step gives a past of its own."""
        return bool(self.past) and self.place > 0

    @property
    def in_slots(self) -> bool:
        """Whether the caller says at which place the module keeps what."""
        return bool(self.position) and not (self.past or self.flag)

    @property
    def offers(self) -> frozenset[str]:
        """The capabilities that follow. A module begins anew where it is told to, or what goes before."""
        forgets = bool(self.past or self.position or self.reset)
        further = {"reset cache": forgets, "cache of the caller": self.held_by_caller}
        return frozenset({"cache"} | {name for name, there in further.items() if there})

    @property
    def arguments(self) -> set[str]:
        """The names of the arguments that are used."""
        return {self.flag, self.past, self.position} - {""}

    @property
    def words(self) -> str:
        """inside, use_cache=True, reset_cache()."""
        where = "held by the caller" if self.past else "inside"
        if self.in_slots:
            where = "in slots"
        past = f"{self.past}={self.holder}" if self.holder else self.past
        named = (past, f"{self.flag}=True" * bool(self.flag), self.position)
        return ", ".join(filter(None, (where, *named, f"{self.reset}()" * bool(self.reset))))

    def begin(self, module: nn.Module, sizes: Sizes, batch: int, layers: int = 1) -> State:
        """Before the first token of so many sequences, in a cache for so many layers; sizes: those of the
        module.
        """
        if self.reset:
            getattr(module, self.reset)()
        if self.holder is not None:
            dtypes = [parameter.dtype for parameter in module.parameters()]
            return State(0, self.holder.make(sizes, batch, (*dtypes, torch.float32)[0], layers))
        return State(0, {} if self.past and not self.place else None)

    def step(
        self,
        module: nn.Module,
        state: State,
        x: Array,
        dtype: str,
        further: Mapping[str, Any] = MappingProxyType({}),
    ) -> tuple[Array, State]:
        """The output (B, T, W) and the state after it; further: what else the call is told."""
        tokens = torch.tensor(x.copy(), dtype=getattr(torch, dtype))
        told = {**further, **self.told(state, x.shape[1])}
        if handed := hook_of(module):  # angles go on where the past ends
            told = handed.made(tokens, state.length) | told
        returned = in_eval(module)(tokens, **told)
        output, past = self.read(returned, state)
        if not isinstance(output, Tensor) or output.shape[:-1] != x.shape[:-1]:
            expected = f"a tensor ({x.shape[0]}, {x.shape[1]}, W)"
            raise SubjectError(f"a step with its cache gave {kind(output)}; expected {expected}")
        return to_array(output), State(state.length + x.shape[1], past)

    def told(self, state: State, tokens: int) -> dict[str, Any]:
        """The arguments besides the tokens."""
        start = state.length
        where = torch.arange(start, start + tokens) if self.ranged else start
        told = {self.flag: True, self.past: state.past, self.position: where}
        return {name: value for name, value in told.items() if name}

    def read(self, returned: Any, state: State) -> tuple[Any, Any]:
        """Output and past."""
        parts: Sequence[Any] = returned if isinstance(returned, tuple | list) else (returned,)
        if not self.held_by_caller:
            return parts[0], state.past
        if len(parts) <= self.place or parts[self.place] is None:
            raise SubjectError(
                f"a step with {self.past} gave {kind(returned)}; expected a past in it"
            )
        return parts[0], parts[self.place]


@dataclass(frozen=True)
class State:
    """How many tokens came so far, and the past where the caller holds it."""

    length: int
    past: Any = None


@dataclass(frozen=True)
class OutputAlone:
    """A hook after forward: the output in what is returned, unless one of these arguments is named."""

    unless: frozenset[str]

    def __call__(
        self, module: nn.Module, inputs: Sequence[Any], told: Mapping[str, Any], returned: Any
    ) -> Any:
        """What the caller sees."""
        if isinstance(returned, Tensor) or self.unless & told.keys():
            return returned
        return output_in(returned, next(iter((*inputs, *told.values()))))


@contextmanager
def all_that_comes(module: nn.Module) -> Iterator[None]:
    """Calls of the module give all that forward returns, whatever they are told."""
    kept = {part: dict(part._forward_hooks) for part in module.modules()}
    for part, hooks in kept.items():
        for key in [key for key, hook in hooks.items() if isinstance(hook, OutputAlone)]:
            del part._forward_hooks[key]
    try:
        yield
    finally:
        for part, hooks in kept.items():
            part._forward_hooks.clear()
            part._forward_hooks.update(hooks)
