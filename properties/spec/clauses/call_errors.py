"""error/, of calls: what a call is told or handed that has no right answer is refused.

Where a wider reading has one right answer (a mask that was made for more keys, a cap of zero for none)
that answer will do as well. Numbers that follow from no reading are what a caller takes for attention.

Legend: B batch, H query heads, G key-value heads, T queries, S keys.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from properties.basics.assertions import Violation, near, require
from properties.basics.dtypes import Array
from properties.basics.errors import SubjectError
from properties.cases.case import Case
from properties.cases.question import Question, flags, question
from properties.spec.clause import Condition, Half, Level, clause

AXES = "batch query column"
ANSWER = "an output"
FUNCTION = {"function", "told by calls"}
FEW = 12  # examples are enough: what is not refused once is refused at no other size
SEVERAL = Condition("at least two keys", lambda case: case.call is not None and case.call.keys > 1)


@dataclass
class Unrefused(Violation):
    """An answer that is none of those that would be right where a call is not refused.

    rights: these, each of the output's shape with what it may be off by.
    """

    rights: Sequence[tuple[Array, Array]]


def given(asked: Question, expected: str) -> Array | None:
    """The output; None where the call raises. What cannot be read is an answer, and no refusal."""
    try:
        return asked.answer().output
    except SubjectError as error:
        if error.__cause__ is None:
            raise Violation(expected, str(error), {}) from error
        return None


def refused(asked: Question, what: str) -> None:
    """The call raises."""
    require(given(asked, f"{what} refused") is None, f"{what} refused", ANSWER)


def refused_or(
    asked: Question, what: str, readings: Iterable[Question], loud: bool = True
) -> float:
    """The call raises, or gives what one of these right calls gives; or NaN throughout, where that is
    loud enough. Returns the share of the budget that was used.
    """
    output = given(asked, f"{what} refused")
    if output is None:
        return 0.0
    rights = [(r.truth.output, r.truth.allowed) for r in readings]
    rights += [constant(np.nan, output)] * loud
    return as_one_of(output, f"{what} refused, or an output of", rights)


def constant(number: float, output: Array) -> tuple[Array, Array]:
    """An output that is this number throughout, and may be off by nothing."""
    return np.full_like(output, number), np.zeros_like(output)


def as_one_of(output: Array, what: str, rights: Sequence[tuple[Array, Array]]) -> float:
    """The output is one of those that would be right; if none, the first one tells how far off."""
    failures = []
    for right, allowed in rights:
        try:
            return near(what, output, right, allowed, AXES)
        except Violation as far:
            failures.append(far)
    first = failures[0]
    raise Unrefused(first.expected, first.actual, first.where, rights) from first


@clause(
    "error/mask-of-another-size",
    Level.MUST,
    "A mask for another number of items, heads, queries or keys is refused; one for more keys may be "
    "cut to those there are.",
    needs={"takes mask"},
    counts=SEVERAL,
    after=("mask/shows-what-it-shows",),
    half=Half.GUARDED,
    brief="a mask of another size",
    examples=FEW,
)
def mask_of_another_size(case: Case) -> float:
    """Cut, repeated or filled up it hides other keys than the caller meant. A mask that was made for the
    longest row of all, and is cut at the keys, is usual with caches and has one meaning.
    """
    asked = question(case, "mask")
    mask = np.asarray(asked.arguments.mask)
    for axis, name in enumerate(("items", "heads", "queries", "keys")):
        if name == "heads" and not case.subject.bare:
            continue  # a module is handed one mask for all of its heads
        for size in other_sizes(mask.shape[axis], shorter=name == "keys"):
            other = np.take(mask, np.arange(size) % mask.shape[axis], axis)
            refused(asked.changed(mask=other), f"a mask for {size} {name}, not {mask.shape[axis]},")
    longer = np.concatenate([mask, ~mask[..., :1]], axis=-1)
    return refused_or(
        asked.changed(mask=longer), "a mask for one key too many", [asked], loud=False
    )


@clause(
    "error/padding-of-another-size",
    Level.MUST,
    "A mask of keys for another number of items or keys is refused; one for more keys may be cut to "
    "those there are.",
    needs={"padding anywhere"},
    counts=SEVERAL,
    after=("mask/padding-shows-what-is-real",),
    half=Half.GUARDED,
    brief="a mask of keys of another size",
    examples=FEW,
)
def padding_of_another_size(case: Case) -> float:
    """As with a mask of pairs: what is filled up or repeated says of a key what nobody said."""
    asked = question(case, "padding")
    padding = np.asarray(asked.arguments.padding)
    for axis, name in enumerate(("items", "keys")):
        for size in other_sizes(padding.shape[axis], shorter=name == "keys"):
            other = np.take(padding, np.arange(size) % padding.shape[axis], axis)
            what = f"a mask of keys for {size} {name}, not {padding.shape[axis]},"
            refused(asked.changed(padding=other), what)
    longer = np.concatenate([padding, ~padding[:, :1]], axis=-1)
    what = "a mask of keys for one key too many"
    return refused_or(asked.changed(padding=longer), what, [asked], loud=False)


def other_sizes(size: int, shorter: bool) -> list[int]:
    """Another size of an axis, one that nothing can broadcast; none where the axis is too short."""
    if size < 2:
        return []
    return [size - 1] if shorter and size > 2 else [] if shorter else [size + 1]


@clause(
    "error/mask-of-integers",
    Level.MUST,
    "A mask of integers is refused, read as booleans, or added to the scores.",
    needs={"takes mask"},
    counts=SEVERAL,
    after=("mask/shows-what-it-shows",),
    half=Half.GUARDED,
    brief="a mask of integers",
    examples=FEW,
)
def mask_of_integers(case: Case) -> float:
    """Ones and zeros, of 64 bits and of 8 without a sign. Which reading is a convention of its own; `~`
    of an integer is never zero here, and (1 - mask) * -10000 in eight bits is 240, not -10000.
    """
    asked = question(case, "mask")
    mask = np.asarray(asked.arguments.mask)
    hides = case.subject.conventions.mask == "hide"
    added = asked.changed(mask=None, bias=(~mask if hides else mask).astype(np.float64))
    return max(
        refused_or(
            asked.changed(mask=mask.astype(kind)),
            f"a mask of {np.dtype(kind).name}",
            [asked, added],
        )
        for kind in (np.int64, np.uint8)
    )


@clause(
    "error/no-keys",
    Level.MUST,
    "Without any key a call is refused, or every query gives zeros or NaN.",
    needs=FUNCTION | {"takes lengths"},
    after=("cross/as-many-keys-as-there-are",),
    half=Half.GUARDED,
    brief="no keys at all",
    examples=FEW,
)
def no_keys(case: Case) -> None:
    """An empty sum is zero, a mean of nothing NaN. Anything else is no mixture of values: it is memory
    that nobody wrote, or the query itself.
    """
    asked = question(case)
    none = {n: a[:, :, :0] if n in ("keys", "values") else a for n, a in asked.inputs.items()}
    output = given(asked.with_inputs(none), "a call without keys refused")
    if output is not None:
        nothing = [constant(number, output) for number in (0.0, np.nan)]
        as_one_of(output, "a call without keys refused, or an output of", nothing)


@clause(
    "error/keys-without-their-values",
    Level.MUST,
    "Keys and values of different numbers are refused.",
    needs=FUNCTION,
    counts=SEVERAL,
    half=Half.GUARDED,
    brief="keys and values of different numbers",
    examples=FEW,
)
def keys_without_their_values(case: Case) -> None:
    """One value too many, then one too few. A kernel that does not look reads what lies behind the last
    value in memory. What is a single one may be broadcast, and is not asked.
    """
    asked = question(case)
    keys = asked.shape[3]
    for count in [count for count in (keys + 1, keys - 1) if min(keys, count) > 1]:
        values = np.take(asked.inputs["values"], np.arange(count) % keys, axis=2)
        other = asked.with_inputs({**asked.inputs, "values": values})
        refused(other, f"{count} values for {keys} keys")


@clause(
    "error/indivisible-groups",
    Level.MUST,
    "Heads of queries that the heads of keys and values do not divide are refused.",
    needs=FUNCTION | {"takes groups"},
    after=("groups/each-head-reads-its-own-group",),
    half=Half.GUARDED,
    brief="heads that the groups do not divide",
    examples=FEW,
)
def indivisible_groups(case: Case) -> None:
    """Three heads on two and five on three: rounded either way some head reads what is not its own."""
    asked = question(case)
    for heads, groups in ((3, 2), (5, 3)):
        inputs = {
            name: np.take(a, np.arange(heads if name == "queries" else groups) % a.shape[1], axis=1)
            for name, a in asked.inputs.items()
        }
        refused(asked.with_inputs(inputs), f"{heads} heads on {groups} of keys and values")


@clause(
    "error/window-below-minus-one",
    Level.SHOULD,
    "A window below -1 is refused, or is no limit as -1 is.",
    needs=FUNCTION | {"takes window"},
    counts=SEVERAL,
    after=("window/exactly-these-keys",),
    half=Half.GUARDED,
    examples=FEW,
)
def window_below_minus_one(case: Case) -> float:
    """Flash attention takes every number below zero for no limit. Counted as a width, or made positive,
    it is a window that nobody asked for.
    """
    shares = []
    for flag in flags(case):
        asked = question(case).changed(causal=flag, window=(-2, 0))
        shares.append(refused_or(asked, "a window of -2", [asked.changed(window=(-1, 0))]))
    return max(shares)


@clause(
    "error/cap-not-above-zero",
    Level.SHOULD,
    "A cap of zero is refused or no cap; one below zero is refused, no cap, or as the same above zero.",
    needs=FUNCTION | {"takes cap"},
    counts=SEVERAL,
    after=("score/cap-is-the-formula",),
    half=Half.GUARDED,
    examples=FEW,
)
def cap_not_above_zero(case: Case) -> float:
    """C tanh(z / c) is the same for c and -c. At zero it is NaN, or, where z is not zero, zero: all
    scores alike, without a word.
    """
    asked, shares = question(case), []
    for cap in (0.0, -0.5):
        readings: list[dict[str, Any]] = [{}, {"cap": -cap}] if cap else [{}]
        shares.append(
            refused_or(
                asked.changed(cap=cap), f"a cap of {cap:g}", (asked.changed(**r) for r in readings)
            )
        )
    return max(shares)


@clause(
    "error/scale-of-nan",
    Level.SHOULD,
    "A scale of NaN is refused, or gives NaN.",
    needs=FUNCTION | {"takes scale"},
    after=("score/given-scale-is-used-once",),
    half=Half.GUARDED,
    examples=FEW,
)
def scale_of_nan(case: Case) -> None:
    """A scale is computed, and so may be NaN. Zeros, which a guard against rows that see nothing makes of
    it, are read as an answer; NaN is not.
    """
    output = given(question(case).changed(scale=float("nan")), "a scale of NaN refused")
    if output is not None:
        as_one_of(output, "a scale of NaN refused, or an output of", [constant(np.nan, output)])
