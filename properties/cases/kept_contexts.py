"""Calls about one context after the other to a module that keeps keys and values of it.

Legend: B batch, T tokens of x, W width of the output.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any, TypeVar

import numpy as np

from properties.basics import interrupts
from properties.basics.doing import doing
from properties.basics.dtypes import Array
from properties.basics.errors import OutsideError, SubjectError
from properties.cases import probing
from properties.cases.question import Question
from properties.subjects.instance import describe, seed_generators

Given = TypeVar("Given")


class Kept:
    """One module, whatever it is asked; errors are told as the subject's."""

    def __init__(self, asked: Question) -> None:
        """A new module for a question beside a context."""
        self.subject, self.dtype = asked.case.subject, asked.case.dtype
        if self.dtype not in self.subject.kept_in:
            raise OutsideError(f"a context that is kept in {self.dtype}")
        self.module = asked.asked_of.build().module

    def run(self, asked: Question, lengths: Sequence[int], later: str) -> Array:
        """The outputs (B, T, W) of x in chunks of these lengths; later: how calls after the first one are
        told of the context, one of `LATER`.
        """
        state: Any = self.given(
            asked, lambda: self.subject.begin_beside(self.module, asked.shape[0])
        )
        outputs = list[Array]()
        for end, length in zip(accumulate(lengths), lengths, strict=True):
            part, handed = rows_of(asked, end - length, end), later if outputs else "again"
            output, state = self.step(part, state, handed)
            if output.shape[:2] != part.inputs["x"].shape[:2]:
                raise SubjectError(f"a call beside a kept context gave an output {output.shape}")
            outputs.append(output)
        return np.concatenate(outputs, axis=1)

    def step(self, part: Question, state: Any, handed: str) -> tuple[Array, Any]:
        """The output of some rows, and the state after them."""
        told = (self.module, state, part.inputs, part.arguments, self.dtype)
        return self.given(part, lambda: self.subject.step_beside(*told, handed=handed))

    def alone(self, asked: Question) -> Array:
        """The output of a call that keeps nothing."""
        told = (self.module, asked.inputs, asked.arguments, self.dtype)
        return self.given(asked, lambda: self.subject.ask(*told)).output

    def given(self, asked: Question, ask: Callable[[], Given]) -> Given:
        """What the subject gives."""
        probing.note(asked.case.sizes, self.dtype)
        seed_generators(asked.case.seed)
        try:
            with doing("in a call beside a kept context"):
                return ask()
        except (SubjectError, OutsideError):
            raise
        except BaseException as error:  # whatever it is, it is the subject's
            interrupts.subjects_own(error)
            words = f"{asked.words}, which is kept, raised {describe(error)}"
            raise SubjectError(words) from error


def rows_of(asked: Question, start: int, end: int) -> Question:
    """The question of some tokens of x alone, with what is told of pairs of them."""
    pairs = {
        name: array[:, :, start:end]
        for name, array in asked.arguments.given().items()
        if name in ("mask", "bias")
    }
    inputs = {**asked.inputs, "x": asked.inputs["x"][:, start:end]}
    return replace(asked.with_inputs(inputs), arguments=replace(asked.arguments, **pairs))
