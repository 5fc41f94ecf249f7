"""mask/: a mask that is handed in says which keys a query sees, and nothing else.

Whether True shows or hides is a convention, found or declared before; a subject is held to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from properties.basics.assertions import near, require
from properties.basics.dtypes import Array
from properties.basics.errors import OutsideError, SubjectError
from properties.cases.agreement import same_output
from properties.cases.case import Case
from properties.cases.question import Question, flags, question
from properties.spec.clause import Condition, Level, clause
from properties.subjects.call import Seen

SHOWN = "mask/shows-what-it-shows"
MASK = {"takes mask"}


def some_hidden(case: Case) -> bool:
    """Whether the mask hides a key from a query that sees another one."""
    return case.call is not None and bool((case.call.arrays["mask"] == 0).any())


def several_keys(case: Case) -> bool:
    """Whether a key can be hidden and another one stays."""
    return case.call is not None and case.call.keys > 1


HIDING = Condition("a mask that hides a key", some_hidden)
SEVERAL = Condition("at least two keys", several_keys)


@clause(
    SHOWN,
    Level.MUST,
    "With a boolean mask each query mixes the keys that are shown to it, by the formula, and no others.",
    needs=MASK,
    counts=HIDING,
)
def shows_what_it_shows(case: Case) -> float:
    """w_ij = sees_ij exp(z_ij) / sum_j sees_ij exp(z_ij), with a mask of its own for each item, head and
    query. An inverted mask, one that is added to the scores as a number, one that falls on other
    heads or items, and none at all give other numbers.
    """
    return question(case, "mask").agrees()


@clause(
    "mask/hidden-key-does-not-matter",
    Level.MUST,
    "A key that is hidden from a query does not matter to it: with another key and value there, its "
    "output stays.",
    needs=MASK,
    counts=SEVERAL,
)
def hidden_key_does_not_matter(case: Case) -> float:
    """The last key is hidden from every query, and large numbers are put in its place. A constant that
    is too small, such as -1e4, lets it through; so does a sum that is not masked.
    """
    place = [last(case)]
    asked = with_hidden(question(case), place)
    other = asked.exchanged(place)
    rows = np.s_[:, asked.rows_without(place)]
    return same_output("with another key where it is hidden", other, asked, rows, rows)


@clause(
    "mask/hidden-equals-removed",
    Level.MUST,
    "A key that is hidden from every query might as well not be there.",
    needs=MASK,
    unless={"mask in place of the future"},
    counts=SEVERAL,
    after=(SHOWN,),
)
def hidden_equals_removed(case: Case) -> float | None:
    """The last key hidden, or cut out with its value: the same output, whatever the number of keys."""
    if not several_keys(case):
        return None
    place = [last(case)]
    asked = with_hidden(question(case), place)
    fewer = asked.without(place).changed(mask=None)
    rows = np.s_[:, asked.rows_without(place)]
    return same_output("a hidden key to be as none,", asked, fewer, there=rows)


@clause(
    "mask/all-shown-is-no-mask",
    Level.MUST,
    "A mask that shows everything changes nothing, beside the causal flag as well.",
    needs=MASK,
    unless={"mask in place of the future"},
)
def all_shown_is_no_mask(case: Case) -> float:
    """With and without the flag, where there is one. A path of its own that a mask leads into and that
    forgets the flag, or the scale, shows here.
    """
    shares = []
    for flag in flags(case):
        without = question(case).changed(causal=flag)
        shown = without.changed(mask=np.ones(without.shape, dtype=np.bool_))
        what = f"{shown.words}, the mask showing everything, to give"
        shares.append(same_output(what, shown, without))
    return max(shares)


@clause(
    "mask/every-shape-that-is-taken",
    Level.MUST,
    "A mask for all items, all heads or all queries at once is as the same one written out.",
    needs=MASK,
    counts=HIDING,
    after=(SHOWN,),
)
def every_shape_that_is_taken(case: Case) -> float | None:
    """(T, S), (1, 1, T, S), (B, 1, T, S), (1, H, T, S), (B, 1, 1, S): what is refused is not judged, what
    is taken is the formula's. Also asked with as many heads as items: only then may the mask of an item
    fall on a head without an error. Where one argument is for masks of keys (B, S), too, as many queries
    as items are read as one of these.
    """
    takes, shares = case.subject.takes, []
    for probe in (case, *alike(case)):
        full = question(probe, "mask")
        masks = narrower(full.arguments.mask)
        if takes.get("padding") == takes["mask"] and probe.sizes.tokens == probe.sizes.batch:
            masks = masks[1:]  # without (T, S)
        for mask in masks:
            asked = full.changed(mask=mask)
            try:
                asked.answer()
            except SubjectError:
                continue
            shares.append(asked.agrees())
    return max(shares, default=None)


def alike(case: Case) -> Iterator[Case]:
    """The case with as many heads as items, where there are two of each to keep."""
    call, count = case.call, min(case.sizes.batch, case.sizes.key_heads)
    if call is None or call.own_heads or count < 2:
        return
    few = range(count)
    smaller = case.take(batch=few, heads=few, readers=[0])
    tokens, dims = range(case.sizes.tokens), range(case.sizes.head_dim)
    one_reader = call.take(batch=few, tokens=tokens, heads=few, dims=dims, readers=[0])
    yield replace(smaller, call=one_reader)


def narrower(mask: Seen | None) -> list[Seen]:
    """The mask of the first item, head or query for all of them, in several shapes, (T, S) first."""
    if mask is None:
        return []
    shapes = [mask[0, 0], mask[:1, :1], mask[:, :1], mask[:1], mask[:, :1, :1]]
    return [np.ascontiguousarray(shape) for shape in shapes]


@clause(
    "mask/joins-the-causal-flag",
    Level.MUST,
    "A mask and the causal flag hide together: neither takes the other's place.",
    needs={"takes mask", "takes causal"},
    counts=HIDING,
    after=(SHOWN,),
)
def joins_the_causal_flag(case: Case) -> float:
    """What either of them hides is hidden. A row that sees nothing then is judged by its own clause."""
    return question(case, "mask", "causal").agrees()


@clause(
    "mask/bias-is-added-to-the-scores",
    Level.MUST,
    "Numbers handed in as a bias are added to the scores: once, after the scale, before the softmax.",
    needs={"takes bias"},
)
def bias_is_added(case: Case) -> float:
    """z_ij = scale * q_i . k_j + bias_ij. The scale does not touch the bias."""
    return question(case, "bias").agrees()


@clause(
    "mask/boolean-equals-bias",
    Level.MUST,
    "A boolean mask is as a bias of zero where it shows and of minus infinity where it hides.",
    needs={"takes mask", "takes bias"},
    counts=HIDING,
)
def boolean_equals_bias(case: Case) -> float:
    """Two ways to say the same; a sign or a meaning that only one of them has shows."""
    asked = question(case, "mask")
    hidden = ~np.asarray(asked.arguments.mask)
    added = asked.changed(mask=None, bias=np.where(hidden, -np.inf, 0.0))
    return same_output("a boolean mask to be as a bias of 0 and minus infinity,", asked, added)


@clause(
    "mask/empty-row-harms-no-other",
    Level.MUST,
    "A query that sees nothing leaves all other queries as they are.",
    needs=MASK,
    counts=Condition("at least two queries", lambda case: case.sizes.tokens > 1),
    after=(SHOWN,),
)
def empty_row_harms_no_other(case: Case) -> float:
    """The first query of each item sees nothing. What it gives is a convention; what the others give is
    the formula.
    """
    asked = question(case, "mask")
    mask = np.ones(asked.shape, dtype=np.bool_)
    mask[:, :, 0] = False
    return asked.changed(mask=mask).agrees()


@clause(
    "mask/empty-row-is-answered-as-ever",
    Level.MUST,
    "A query that sees nothing gives what it gave before: zeros, NaN or the mean of all values; where a "
    "number is added to what is hidden, any mixture of them.",
    needs=MASK,
    after=(SHOWN,),
)
def empty_row_as_ever(case: Case) -> float:
    """Zeros: torch's scaled_dot_product_attention, flash attention. NaN: a plain softmax. The mean: a
    most negative number in place of minus infinity. A number that is added to all scores of a row leaves
    as much of them as rounding does: in float64 the row is as if it saw everything, in short formats the
    mean. Each is known; another answer for other sizes, or none of these, is not.
    """
    asked = last_sees_nothing(question(case))
    answer = of_the_last(asked)
    kind = case.subject.conventions.empty
    require(bool(kind), "zeros, NaN or the mean of all values", nearest(answer))
    if beyond_float16(case, answer):
        raise OutsideError("a query that sees nothing, in float16")
    return near(
        f"a query that sees nothing to give {WORDS[kind]}: an output of",
        answer,
        asked.truth.output[:, -1],
        asked.truth.allowed_if_empty[:, -1],
        "batch column",
    )


def last_sees_nothing(asked: Question) -> Question:
    """The call, in which the last query of each item sees no key."""
    mask = np.ones(asked.shape, dtype=np.bool_)
    mask[:, :, -1] = False
    return asked.changed(mask=mask)


def of_the_last(asked: Question) -> Array:
    """The output of the last query of each item, (B, W)."""
    try:
        return asked.answer().output[:, -1]
    except SubjectError as error:
        raise OutsideError("a query that sees nothing") from error


def beyond_float16(case: Case, answer: Array) -> bool:
    """Whether a mean or a mixture is NaN since float16 has no such number as is put for minus infinity."""
    meant = case.subject.conventions.empty in ("uniform", "mixture")
    return meant and case.dtype == "float16" and bool(np.isnan(answer).any())


WORDS = {
    "zeros": "zeros",
    "nan": "NaN",
    "uniform": "the mean of all values",
    "mixture": "a mixture of all values",
}


def nearest(answer: Array) -> str:
    """The first number of an answer that is none of the known ones."""
    return f"{answer.flat[0]:.6g}"


def with_hidden(asked: Question, places: list[int]) -> Question:
    """A mask that hides these keys from every query, beside all else."""
    mask = np.ones(asked.shape, dtype=np.bool_)
    mask[..., places] = False
    return asked.changed(mask=mask)


def last(case: Case) -> int:
    """The last key."""
    return question(case).shape[3] - 1
