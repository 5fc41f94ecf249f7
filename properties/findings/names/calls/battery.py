"""The questions on which wrong forms are told apart: small calls with general numbers, crossed.

Each holds its subject's answer, and which forms agree with it, once they are asked.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from properties.basics.errors import OutsideError, SubjectError
from properties.cases.case import Case
from properties.cases.question import Question, crossed, question
from properties.cases.strategies import PLAIN_SIZES, coincide, make_case
from properties.findings.names.calls.form import RIGHT, SEEING, Form, agrees
from properties.recognition.asking.finding import ASKED
from properties.subjects.call import Answer, Lengths
from properties.subjects.subject import Subject

SIZES = ((4, 2, 1), (5, 3, 3), (5, 2, 5), (4, 2, 7), (1, 2, 3))
"""Tokens, items and the seed, by which draw_call chooses keys and how many heads share one."""
DOUBLE = (2, 2, 10)
"""The same, with a context that is twice as long."""
LOUD = (3e2, 3e3, 3e4, 3e5, 3e6)
WINDOWS = ((0, 0), (1, 0), (0, 1), (2, 1), (1, 2), (1, -1), (-1, 1))


class Item:
    """A question, the subject's answer (None where it raised), and what agrees with it."""

    def __init__(self, asked: Question, answer: Answer | None) -> None:
        self.asked, self.answer = asked, answer
        self.told: dict[int, bool] = {}

    def agrees(self, form: Form) -> bool:
        """Whether the answer is what the form gives."""
        if id(form) not in self.told:
            with np.errstate(all="ignore"):
                self.told[id(form)] = self.judged(form)
        return self.told[id(form)]

    def judged(self, form: Form) -> bool:
        """The same, asked once for each form."""
        return agrees(form, self.asked, self.answer)

    @cached_property
    def right(self) -> bool:
        """Whether the answer is the definition's."""
        return self.agrees(RIGHT)

    @property
    def off(self) -> bool:
        """Whether it is wrong in a row that sees something."""
        return not self.agrees(SEEING)


@lru_cache(maxsize=2)
def battery(subject: Subject) -> tuple[Item, ...]:
    """Every question that the subject answers."""
    items = []
    for asked in questions(subject):
        try:
            items.append(Item(asked, asked.answer()))
        except (SubjectError, OutsideError):
            continue
    return tuple(items)


def questions(subject: Subject) -> Iterator[Question]:
    """One role at a time, then two, on several sizes; then what tells numbers that hide apart."""
    for tokens, batch, seed in SIZES:
        yield from of(sized(subject, tokens, batch, seed))
    if "context" in subject.takes:
        for tokens, batch, seed in (*SIZES, DOUBLE):
            yield from of_context(sized(subject, tokens, batch, seed))
    case = sized(subject, *SIZES[0])
    if "mask" in subject.takes:
        yield from (loud(case, size) for size in LOUD)
        for dtype in {"float16", subject.dtypes[0]} & set(subject.dtypes):
            yield from empty(replace(case, dtype=dtype))


def sized(subject: Subject, tokens: int, batch: int, seed: int) -> Case:
    """A case of these sizes, two heads of keys and values."""
    base = replace(PLAIN_SIZES, tokens=tokens, batch=batch, heads=2, head_dim=4)
    sizes = coincide(base, "all different", subject)
    return make_case(subject, sizes, subject.dtypes[0], "ordinary", True, 0.5, 1, seed=seed)


def of(case: Case) -> Iterator[Question]:
    """Questions about one case."""
    takes = case.subject.takes
    single: dict[str, list[dict[str, Any]]] = {role: values(case, role) for role in ASKED}
    there = [role for role in ASKED if role in takes]
    yield question(case)
    for number, role in enumerate(there):
        for told in single[role]:
            yield question(case).changed(**told)
        for other in there[number + 1 :]:
            if {role, other} == {"mask", "bias"} and takes["mask"] == takes["bias"]:
                continue
            for one in beside(single[role])[:2]:
                for two in beside(single[other])[:4]:
                    yield question(case).changed(**one, **two)


def of_context(case: Case) -> Iterator[Question]:
    """Questions about one case with a context: nothing told, then one role after the other."""
    takes = case.subject.takes
    yield crossed(case)
    for role in ("mask", "bias", "padding"):
        if f"context_{role}" in takes:
            yield crossed(case, role)
    if case.subject.has("padding of x"):
        yield crossed(case, padding_of_x=question(case, "padding").arguments.padding)


def beside(told: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What is told beside another role: a scale of zero times minus infinity is nobody's question."""
    return [one for one in told if one.get("scale") != 0.0]


def values(case: Case, role: str) -> list[dict[str, Any]]:
    """What a role is told, one after the other."""
    if role not in case.subject.takes:
        return []
    drawn = getattr(question(case, role).arguments, role)
    if role in ("mask", "bias"):
        cut = [drawn, drawn[:, :1], drawn[0, 0], drawn[:, :1, :1]]
        first = drawn.copy()
        first[0] = True if role == "mask" else 0.0
        return [{role: np.ascontiguousarray(part)} for part in (*cut, first)]
    if role == "scale":
        return [{role: drawn}, {role: 0.0}]
    if role == "window":
        sides = WINDOWS if "two" in case.subject.conventions.sides else ((2, 0), (0, 0), (1, 0))
        causal = "causal" in case.subject.takes
        told = [{"window": pair} for pair in sides]
        return told if len(sides) > 3 or not causal else [t | {"causal": True} for t in told]
    if role == "segments" and question(case).shape[2] != question(case).shape[3]:
        return []
    if role == "documents":
        return [{role: told} for told in (drawn, *emptied(drawn))]
    return [{role: drawn}]


def emptied(lengths: Lengths) -> Iterator[Lengths]:
    """Each document in turn without queries, and without keys."""
    for item in range(len(lengths)):
        for side in range(2):
            told = lengths.copy()
            told[item, side] = 0
            yield told


def loud(case: Case, size: float) -> Question:
    """The last key is hidden, and its scores are large; those of all keys, where tokens are asked about."""
    asked = question(case)
    if not asked.function and case.weights is not None:
        grown = replace(case.weights, key=case.weights.key * np.exp2(np.rint(np.log2(size))))
        asked = question(replace(case, weights=grown))
    mask = np.ones(asked.shape, dtype=np.bool_)
    mask[..., -1] = False
    inputs = {name: array.copy() for name, array in asked.inputs.items()}
    if asked.function:
        inputs["keys"][:, :, -1] = size * np.sign(inputs["keys"][:, :, -1])
    return asked.with_inputs(inputs).changed(mask=mask)


def empty(case: Case) -> Iterator[Question]:
    """The last query sees nothing."""
    asked = question(case)
    mask = np.ones(asked.shape, dtype=np.bool_)
    mask[:, :, -1] = False
    yield asked.changed(mask=mask)
    if "causal" in case.subject.takes:
        yield asked.changed(mask=mask, causal=True)
