"""A sequence in several calls: a subject that keeps keys and values is fed some tokens after the others.

Legend: B batch, T tokens of a step, S tokens so far, W width of the output.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Any, TypeVar

import numpy as np
import torch

from properties.basics import interrupts
from properties.basics.doing import doing
from properties.basics.dtypes import Array
from properties.basics.errors import OutsideError, SubjectError
from properties.cases import probing
from properties.cases.case import Case
from properties.subjects.call import Arguments, Seen
from properties.subjects.instance import describe, in_eval, seed_generators

Given = TypeVar("Given")


@dataclass
class Steps:
    """One module of a case, whatever it is fed; errors are told as the subject's.

    layer: which of several that share a cache.
    """

    case: Case
    layer: int = 0
    module: Any = field(init=False)

    def __post_init__(self) -> None:
        if self.case.dtype not in self.case.subject.cached_in:
            raise OutsideError(f"a step in {self.case.dtype}")
        self.module = self.case.build(layer=self.layer).module

    def begin(self, batch: int) -> Any:
        """The state before the first token."""
        return self.asked(lambda: self.case.subject.begin(self.module, batch))

    def step(
        self,
        state: Any,
        x: Array,
        *,
        recording: bool = False,
        real: Seen | None = None,
        told: Arguments | None = None,
    ) -> tuple[Array, Any]:
        """The output (B, T, W) for the next tokens, and the state after them.

        recording: whether the step is recorded for gradients, as it is not where one decodes; real:
        (B, S), which tokens so far and now are no padding; told: a mask or a bias of pairs, (B, 1, T, S).
        """
        subject, given = self.case.subject, (self.module, state, x)

        def ask() -> tuple[Array, Any]:
            if told is not None:
                return subject.step_masked(*given, told, self.case.dtype)
            if real is not None:
                return subject.step_padded(*given, real, self.case.dtype)
            return subject.step(*given, self.case.dtype)

        with torch.set_grad_enabled(recording):
            output, after = self.asked(ask)
        expected = (*x.shape[:2], self.case.sizes.width)
        if output.shape != expected:
            raise SubjectError(f"expected a step's output of shape {expected}; got {output.shape}")
        return output, after

    def run(
        self,
        x: Array,
        lengths: Sequence[int],
        *,
        recording: bool = False,
        real: Seen | None = None,
        told: Arguments | None = None,
    ) -> Array:
        """The outputs (B, S, W) of a sequence that is fed in chunks of these lengths, from its first
        token on; real: (B, S), which of them are no padding; told: a mask or a bias of all pairs, (B, 1,
        S, S), of which each step gets its rows.
        """
        state, outputs = self.begin(len(x)), []
        for chunk, end in zip(chunks(x, lengths), accumulate(lengths), strict=True):
            so_far = None if real is None else real[:, :end]
            rows = None if told is None else rows_of(told, end - chunk.shape[1], end)
            output, state = self.step(state, chunk, recording=recording, real=so_far, told=rows)
            outputs.append(output)
        return np.concatenate(outputs, axis=1)

    def alone(self, x: Array) -> Array:
        """The output of a call without the cache."""

        def ask() -> Array:
            tokens = torch.tensor(x, dtype=getattr(torch, self.case.dtype))
            with torch.no_grad():
                output: Array = in_eval(self.module)(tokens).double().numpy()
            return output

        return self.asked(ask)

    def asked(self, ask: Callable[[], Given]) -> Given:
        """What the subject gives."""
        probing.note(self.case.sizes, self.case.dtype)
        seed_generators(self.case.seed)
        try:
            with doing("in a step with its cache"):
                return ask()
        except (SubjectError, OutsideError):
            raise
        except BaseException as error:  # whatever it is, it is the subject's
            interrupts.subjects_own(error)
            raise SubjectError(f"a step with its cache raised {describe(error)}") from error


def in_layers(case: Case, lengths: Sequence[int]) -> tuple[Array, Array]:
    """The outputs (B, S, W) of two layers that share one cache and are fed by turns, the first one the
    case's tokens, the second one its other tokens.
    """
    layers, sequences = (Steps(case), Steps(case, layer=1)), (case.x, case.other)
    shared = layers[0].asked(lambda: case.subject.begin_shared(layers[0].module, len(case.x)))
    states: list[Any] = [shared, shared]
    outputs: tuple[list[Array], list[Array]] = ([], [])
    for parts in zip(*(chunks(x, lengths) for x in sequences), strict=True):
        for n, part in enumerate(parts):
            output, states[n] = layers[n].step(states[n], part)
            outputs[n].append(output)
    first, second = (np.concatenate(each, axis=1) for each in outputs)
    return first, second


def chunks(x: Array, lengths: Sequence[int]) -> Iterator[Array]:
    """Parts of x (B, S, d_in) one after the other."""
    yield from np.split(x, np.cumsum(lengths)[:-1], axis=1)


def rows_of(told: Arguments, start: int, end: int) -> Arguments:
    """What is told of the queries from start to end, and of the keys up to there."""
    pairs = {name: array[:, :, start:end, :end] for name, array in told.given().items()}
    return replace(told, **pairs)


def in_words(lengths: Sequence[int]) -> str:
    """Such as: fed 3, then 1, then 1 tokens."""
    if set(lengths) == {1}:
        return "fed token by token"
    return f"fed {', then '.join(map(str, lengths))} tokens"


def splits(tokens: int, cut: int) -> list[list[int]]:
    """Ways to feed so many tokens in more than one call, of which one at least has several tokens.

    A prompt and then token by token, as one decodes; a prompt and all else at once, cut where the case
    is; token by token and all else at once.
    """
    prompt = max(1, (tokens + 1) // 2)
    head = min(cut + 1, tokens - 1)
    ways = [[prompt, *[1] * (tokens - prompt)], [head, tokens - head], [1, 1, tokens - 2]]
    return [way for way in ways if min(way) > 0 and len(way) > 1]
