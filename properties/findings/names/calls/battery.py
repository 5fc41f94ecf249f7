"""The questions on which wrong forms are told apart: small calls with general numbers, crossed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np

from properties.basics.errors import OutsideError, SubjectError
from properties.cases.call_dropout import PROBABILITY, with_visible_weights
from properties.cases.call_gradients import of_rows_that_see, upstream
from properties.cases.case import Case
from properties.cases.question import Question, crossed, padding_as_numbers, question, taken
from properties.cases.strategies import PLAIN_SIZES, coincide, make_case
from properties.findings.call_tape import Asked
from properties.findings.names.calls.backward import Backward, Dropped
from properties.findings.names.calls.items import Item
from properties.recognition.asking.finding import ASKED
from properties.subjects.call import Answer, Handing, Lengths
from properties.subjects.subject import Subject

SIZES = ((4, 2, 1), (5, 3, 3), (5, 2, 5), (4, 2, 7), (1, 2, 3))
"""Tokens, items and the seed, by which draw_call chooses keys and how many heads share one."""
MANY = (72, 1, 5)
"""The same, with more keys than a tile of a kernel has; asked of functions."""
DOUBLE = (2, 2, 10)
"""The same, with a context that is twice as long."""
LOUD = (3e2, 3e3, 3e4, 3e5, 3e6)
HIDING = ("mask", "bias", "padding", "causal")
WINDOWS = ((0, 0), (1, 0), (0, 1), (2, 1), (1, 2), (1, -1), (-1, 1))


@lru_cache(maxsize=2)
def battery(subject: Subject) -> tuple[Item, ...]:
    """Every question that the subject answers."""
    items = [Item(asked, answered(asked)) for asked in questions(subject)]
    items += [Item(asked, answered(asked, how), how) for asked, how in in_other_ways(subject)]
    return tuple(item for item in items if item.answer is not None)


def answered(asked: Question, handing: Handing | None = None) -> Answer | None:
    """The subject's answer; None where it raises."""
    try:
        if handing is not None and asked.function:
            return asked.answer_handing(handing)
        return asked.answer(handing=handing)
    except (SubjectError, OutsideError):
        return None


@lru_cache(maxsize=2)
def with_small_numbers(subject: Subject) -> tuple[Item, ...]:
    """The battery and padding of small numbers, which may be read wrong where all else is right."""
    if "padding_numbers" not in subject.takes:
        return ()
    asked = [question(sized(subject, *size), "padding_numbers") for size in SIZES]
    items = (Item(one, answer) for one in asked if (answer := answered(one)) is not None)
    return (*battery(subject), *items)


@lru_cache(maxsize=2)
def under_dropout(subject: Subject) -> tuple[Item, ...]:
    """The battery and calls of functions under dropout, which may lose there what is told besides."""
    if not subject.has("dropout of calls"):
        return ()
    how, items = Handing(dropout=PROBABILITY), []
    for size in SIZES[:2]:
        case = sized(subject, *size)
        told = [one for role in (*HIDING, "window") for one in values(case, role)]
        told += [
            {"bias": one["bias"] * (np.arange(one["bias"].shape[-1]) > 0)}
            for one in told
            if "bias" in one
        ]
        asked = (with_visible_weights(question(case).changed(**one)) for one in ({}, *told))
        items += [Dropped(one, answered(one, how), how) for one in asked]
    return (*battery(subject), *(item for item in items if item.answer is not None))


@lru_cache(maxsize=2)
def slopes_alone(subject: Subject) -> tuple[Item, ...]:
    """Gradients, which may be wrong where every answer is right: of rows that see something, and beside
    some that see nothing.
    """
    if not subject.has("gradients of modules") and not subject.has("gradients of calls"):
        return ()
    calls = [call for size in SIZES[:2] for call in differentiated(sized(subject, *size))]
    return tuple(Backward(call) for call in calls if call.gradients is not None)


def differentiated(case: Case) -> Iterator[Asked]:
    """Calls about one case, and their gradients: nothing told, then one role after the other."""
    asked = [question(case)]
    for role in (*HIDING, "window", "scale", "cap"):
        asked += [question(case).changed(**told) for told in values(case, role)[:1]]
    asked += list(empty(case)) if "mask" in case.subject.takes else []
    for one in asked:
        call = Asked(one, upstream=(upstream if one.function else of_rows_that_see)(one))
        factors = np.asarray(call.upstream)
        with suppress(SubjectError, OutsideError):
            if one.function:
                call.gradients = one.gradients(factors)
            else:
                call.gradients = {"x": one.gradient_by_x(factors)}
        yield call


def questions(subject: Subject) -> Iterator[Question]:
    """One role at a time, then two, on several sizes; then what tells numbers that hide apart."""
    for tokens, batch, seed in SIZES:
        yield from of(sized(subject, tokens, batch, seed))
    if subject.bare:
        yield question(sized(subject, *MANY))
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
    if "causal" in takes:
        asked = crossed(case, "causal")
        yield from (asked, asked.without(range(2, asked.shape[3])))
        beside = [role for role in ("mask", "padding") if f"context_{role}" in takes]
        yield from (crossed(case, "causal", role) for role in beside)
    if case.subject.has("padding of x"):
        yield crossed(case, padding_of_x=question(case, "padding").arguments.padding)
    if "weights" in takes:
        yield crossed(case, "weights")
    if "context_values" in takes:
        asked = crossed(case)
        turned = np.flip(asked.inputs["context"], axis=1)
        yield asked.with_inputs({**asked.inputs, "context_values": turned})


def in_other_ways(subject: Subject) -> Iterator[tuple[Question, Handing]]:
    """In training and in eval, with gradients recorded, and with padding as numbers."""
    case = sized(subject, *SIZES[0])
    ways = [Handing(gradients=True)]
    if subject.has("modes of calls"):
        ways += [Handing()] + [Handing(gradients=True, training=True)] * subject.has("dropout")
    elif not subject.bare:
        return
    asked = [question(case), *(question(case, role) for role in taken(case, *HIDING))]
    yield from product(asked, ways)
    if "padding_numbers" in subject.takes:
        yield padding_as_numbers(question(case, "padding")), Handing()


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
    if role == "weights" and "averaged" in case.subject.takes:
        return [{role: drawn}, {role: drawn, "averaged": True}]
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
