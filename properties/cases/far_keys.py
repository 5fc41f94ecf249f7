"""Each of 8192 keys, told apart in a short format: sixteen keys lead a row, all others weigh nothing.

A row that mixes 8192 keys says nothing of one of them in bfloat16: its share is far below the rounding of
the sum. Here key j is written in digits of base 16 (j % 16, j // 16 % 16, j // 256 % 16, j // 4096), one
column for each value of each digit. A query asks for three of the four digits. So it scores 3 a with the
sixteen keys that have them, and at least a less with every other one, whose weight is then zero in the
format. The values are the same columns: what a key weighs, a sixteenth, stands alone in the column of its
free digit.

One key that is left out, is counted twice or takes another's value is off by its whole share, wherever it
stands; so is a tile of 256 keys, in every row whose keys are 256 apart. Half of the rows are lowered, so
that all scores are below zero: keys of zeros, which fill up a tile, would lead them. A column of ones among
the values gives the sum of all weights. Every number is zero or plus or minus a power of two.

Legend: T queries, S keys, D head_dim; one item, one head.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from properties.basics.assertions import Violation, near
from properties.basics.dtypes import FORMATS, Array
from properties.basics.errors import SubjectError
from properties.cases.case import Case
from properties.cases.question import Question
from properties.subjects.call import Arguments
from properties.subjects.subject import Subject
from properties.truth.bounds.alike import alike_error
from properties.truth.oracle import merge
from properties.truth.parameters import Sizes

LENGTHS = (8192, 8191)
"""Keys: all tiles are full, and the last one lacks a key."""
HEAD_DIM = 64  # whose root is a power of two: scores that are scaled once are exact as well
BASE, DIGITS, COLUMNS = 16, 4, 50
LOWERED, ONES = 50, 51  # columns of queries, and of keys and values, besides the digits
STEP = {"float64": 1024.0, "float32": 1024.0, "bfloat16": 128.0, "float16": 128.0}
"""Between scaled scores, at least: minus one step has an exponential of zero in the format."""
CHUNK = 128  # queries in a call
EDGES = (
    0,
    63,
    64,
    127,
    128,
    191,
    192,
    255,
)  # within 256 keys: where tiles of 64 or more begin and end


class Group(NamedTuple):
    """A row: the keys that agree with `key` in all digits but the free one; lowered: see above."""

    key: int
    free: int
    lowered: bool


class Rows(NamedTuple):
    """queries (T, D), keys and values (S, D); leads (T, S), true where a key leads a row."""

    queries: Array
    keys: Array
    values: Array
    leads: NDArray[np.bool_]


def edges(tokens: int) -> tuple[Group, ...]:
    """Few rows: the first and last keys of all tiles of 64 keys or more, and the ends of the row."""
    tiles = [
        (start + place, 2) for start in (0, tokens - 1 - (tokens - 1) % 4096) for place in EDGES
    ]
    ends = [(key, 0) for key in (0, tokens - 17, tokens - 1)]
    kept = [(key, free) for key, free in tiles + ends if key < tokens]
    return tuple(Group(*each, lowered) for lowered in (False, True) for each in kept)


def all_keys(tokens: int) -> tuple[Group, ...]:
    """Every key in two rows: with its neighbours, and with keys that are 256 apart, lowered."""
    together = [Group(key, 0, False) for key in range(0, tokens, BASE)]
    apart = [
        Group(h + low, 2, True)
        for h in range(0, tokens, 4096)
        for low in range(min(256, tokens - h))
    ]
    return (*together, *apart)


def share(subject: Subject, tokens: int, dtype: str, every: bool) -> float:
    """The share of the budget that such rows use; every: of all keys, else of those at edges.

    Violation and SubjectError as for every question; what has failed once is not asked again.
    """
    found = outcome(subject, tokens, dtype, every)
    if isinstance(found, Exception):
        raise found.with_traceback(None)  # which would grow, each time it is raised
    return found


@lru_cache(maxsize=128)
def outcome(subject: Subject, tokens: int, dtype: str, every: bool) -> float | Exception:
    """The same, an error returned: failures are asked many times to make them small."""
    groups = (all_keys if every else edges)(tokens)
    calls = [groups[start : start + CHUNK] for start in range(0, len(groups), CHUNK)]
    try:
        return max(answered(subject, tokens, dtype, groups) for groups in calls)
    except (Violation, SubjectError) as error:
        error.__context__ = None  # nor the arrays of the call are kept with it
        return error.with_traceback(None)


def answered(subject: Subject, tokens: int, dtype: str, groups: tuple[Group, ...]) -> float:
    """The share that the rows of one call use; what is wrong is told of a key's weight where it can be."""
    asked = question(subject, tokens, dtype, groups)
    rows = rows_of(tokens, STEP[dtype], groups)
    leads = rows.leads & asked.request.seen(asked.shape)[0, 0]
    count = leads.sum(axis=1)
    right = leads @ rows.values / np.maximum(count, 1)[:, None]
    allowed = alike_error(right, count, FORMATS[dtype], STEP[dtype])
    allowed[count == 0] = np.inf  # all that leads is hidden from these
    output = asked.answer().output[0]
    what = f"among {tokens} keys in {dtype}, of which {BASE} weigh alike, an output of"
    try:
        return near(what, output, right, allowed, "query column")
    except Violation:
        own = (
            np.take_along_axis(part, columns(groups, tokens), 1)
            for part in (output, right, allowed)
        )
        found, wanted, slack = (np.where(leads, part, 0.0) for part in own)
        near(f"among {tokens} keys in {dtype} a weight of", found, wanted, slack, "query key")
        raise


def question(subject: Subject, tokens: int, dtype: str, groups: tuple[Group, ...]) -> Question:
    """The call of such rows, which is told nothing besides."""
    rows = rows_of(tokens, STEP[dtype], groups)
    parts = {"queries": rows.queries, "keys": rows.keys, "values": rows.values}
    inputs = {name: part[None, None] for name, part in parts.items()}
    x = merge(inputs["queries"])
    sizes = Sizes(1, len(groups), HEAD_DIM, 1, HEAD_DIM, tokens)
    case = Case(subject, sizes, dtype, x, x, None, False, 0.0, cut=0, seed=0, about="far keys")
    return Question(case, inputs, Arguments())


def rows_of(tokens: int, step: float, groups: tuple[Group, ...]) -> Rows:
    """The numbers. What is right follows in closed form: the mean of the values that lead."""
    keys, values = coded(tokens)
    factor = step * HEAD_DIM**0.5
    queries = np.zeros((len(groups), HEAD_DIM))
    for row, (key, free, lowered) in enumerate(groups):
        queries[row, :COLUMNS] = factor * values[key, :COLUMNS]
        queries[row, free * BASE : (free + 1) * BASE] = 0.0
        queries[row, LOWERED] = -(DIGITS * factor) * lowered
    asked = queries[:, :COLUMNS] > 0.0
    leads = asked.astype(np.float64) @ values[:, :COLUMNS].T == DIGITS - 1
    return Rows(queries, keys, values, leads)


def columns(groups: tuple[Group, ...], tokens: int) -> NDArray[np.int64]:
    """(T, S), the column of the output that is a key's own in each row."""
    place = np.arange(tokens)
    return np.array([group.free * BASE + place // BASE**group.free % BASE for group in groups])


@lru_cache(maxsize=4)
def coded(tokens: int) -> tuple[Array, Array]:
    """Keys and values (S, D): the digits of each, a column against which queries are lowered, and one of
    ones.
    """
    place, codes = np.arange(tokens), np.zeros((tokens, HEAD_DIM))
    for digit in range(DIGITS):
        codes[place, digit * BASE + place // BASE**digit % BASE] = 1.0
    keys, values = codes, codes.copy()
    keys[:, LOWERED], values[:, ONES] = 1.0, 1.0
    return keys, values
