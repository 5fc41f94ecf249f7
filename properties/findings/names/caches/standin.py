"""A subject that goes on with a cache of its own kind, in NumPy, with the bounds of what it gives.

Legend: B batch, T tokens of a step, S places that are read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from properties.basics.dtypes import Array
from properties.basics.errors import SubjectError
from properties.cases.case import Case
from properties.findings.kept import Kept
from properties.findings.names.caches.memory import Memory, Read
from properties.subjects.subject import Config
from properties.truth import bounds
from properties.truth.attend import attend
from properties.truth.oracle import Trace, affine, merge, out_projection, split_into_heads
from properties.truth.parameters import Weights
from properties.truth.request import Request


def given(x: Array, read: Read, case: Case) -> tuple[Array, Array]:
    """The output (B, T, W) of tokens that read so, and how far rounding may take it from there."""
    w, kept = case.weights, read.kept
    if w is None:
        raise ValueError(f"{case.subject.name} has no weights that are known")
    parts = (
        affine(x, w.query, w.query_bias),
        affine(kept.keys, w.key, w.key_bias),
        affine(kept.values, w.value, w.value_bias),
    )
    queries, keys, values = split_into_heads(parts, case.sizes.heads)
    keys[:, :, kept.empty], values[:, :, kept.empty] = 0.0, 0.0
    positions = case.subject.positions
    rotary = None if positions is None else positions.at(read.positions, kept.positions)
    if rotary is not None:
        queries, keys = rotary.turn(queries, rotary.queries), rotary.turn(keys, rotary.keys)
    request = Request(visible=read.seen)
    attended = attend(queries, keys, values, request)
    output = out_projection(merge(attended.context), w)
    # A key and its value may be of two tokens: what bounds both bounds either.
    tokens = np.maximum(np.abs(kept.keys), np.abs(kept.values))
    trace = Trace(request, rotary, tokens, queries, keys, values, attended, output)
    return output, bounds.budget(x, w, trace, case.dtype, angles=case.angles).output


class Remembering(nn.Module):
    """A module without parameters of its own, and its cache."""

    def __init__(self, memory: Memory, answer: Callable[[Array, Read], Array]) -> None:
        super().__init__()
        self.memory, self.answer = memory, answer

    def forward(self, x: Tensor) -> Tensor:
        """A call without the cache."""
        tokens = x.detach().double().numpy()
        return torch.from_numpy(self.answer(tokens, self.memory.alone(tokens))).to(x.dtype)


class Supposing(Kept):
    """One that goes on as a memory does."""

    def __init__(self, case: Case, form: type[Memory]) -> None:
        super().__init__(case.subject)
        self.case, self.form, self.differentiable = case, form, False

    def build(self, config: Config, weights: Weights | None) -> Any:
        """A module with a cache that holds nothing."""
        return Remembering(self.form(config.sizes.context_length), self.answer)

    def answer(self, x: Array, read: Read) -> Array:
        """The output of tokens that read so; SubjectError for more places than there is room for, and
        where queries and keys are turned for a position beyond them, which no table has.
        """
        room = self.case.config().sizes.context_length
        last = int(read.positions.max()) + 1 if self.positions is not None else 0
        if max(read.kept.length, last) > room:
            raise SubjectError(f"{max(read.kept.length, last)} tokens where {room} fit")
        return given(x, read, self.case)[0]

    def begin(self, module: Any, batch: int) -> Any:
        """What is kept is forgotten; where the caller holds it, the next sequence has its own."""
        module.memory.begin()
        return module.memory

    def step(self, module: Any, state: Any, x: Array, dtype: str) -> tuple[Array, Any]:
        """The output, and the past after it."""
        after = state.fork() if self.has("cache of the caller") else state
        return self.answer(x, after.step(x)), after
