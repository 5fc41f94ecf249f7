"""From a failing case to the smallest one that still fails, in attention's own terms.

Hypothesis draws the cases, and one drawn case serves every clause; so a failure is reduced here, on
the case itself: tokens go first, then heads, head dimensions, batch items and input columns, then
sizes that are equal together, then what is optional, then the numbers. The work is counted in
evaluations, never in seconds, so the same seed ends at the same case on any machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import combinations

import numpy as np

from properties.basics.dtypes import Array
from properties.cases.case import Case

Fails = Callable[[Case], bool]
Step = tuple[str | int | float, ...]  # the way in which a case is made simpler
AXES = {
    "tokens": "tokens",
    "heads": "key_heads",
    "readers": "shared",
    "dims": "head_dim",
    "batch": "batch",
    "inputs": "d_in",
    "keys": "keys",
}


def reduce_case(case: Case, fails: Fails, evaluations: int) -> Case:
    """The smallest case found for which `fails` still holds, within so many evaluations."""
    search = _Search(case, fails, evaluations)
    while search.left > 0 and search.round_improves():
        pass
    return search.case


class _Search:
    def __init__(self, case: Case, fails: Fails, evaluations: int) -> None:
        self.case, self.fails, self.left = case, fails, evaluations
        self.refused: set[Step] = set()  # the steps from the present case that do not fail

    def round_improves(self) -> bool:
        """One pass over all ways to simplify; whether any of them was taken."""
        before = self.case
        for axis in AXES:
            self.shorten(axis)
        for candidates in (tied, options, simple_arrays):
            self.first_that_fails(candidates)
        self.simplify_numbers()
        return self.case is not before

    def attempt(self, step: Step, candidate: Case) -> bool:
        """Keep the candidate if it still fails. It is what this step makes of the present case: where the
        step did not do before, it is not asked again, and counts all the same.
        """
        if self.left <= 0:
            return False
        self.left -= 1
        if step in self.refused:
            return False
        if not (possible(candidate) and self.fails(candidate)):
            self.refused.add(step)
            return False
        self.case = candidate
        self.refused.clear()
        return True

    def shorten(self, axis: str) -> None:
        """Remove halves, quarters, ..., single entries of one axis as long as the case fails."""
        chunk = self.length(axis) // 2
        while chunk:
            start = self.length(axis) - chunk  # from the end: early tokens are easier to read
            while start >= 0 and self.length(axis) > chunk:
                kept = [i for i in range(self.length(axis)) if not start <= i < start + chunk]
                self.attempt((axis, start, chunk), self.case.take(**{axis: kept}))
                start -= chunk
            chunk //= 2

    def length(self, axis: str) -> int:
        if axis == "keys":
            call = self.case.call
            return 0 if call is None else call.others
        return int(getattr(self.case.sizes, AXES[axis]))

    def first_that_fails(self, candidates: Callable[[Case], Iterator[Case]]) -> None:
        """Try the candidates of the present case, starting over whenever one is taken."""
        taken = True
        while taken:
            taken = any(
                self.attempt((candidates.__name__, number), candidate)
                for number, candidate in enumerate(candidates(self.case))
            )

    def simplify_numbers(self) -> None:
        """Every single number to 0, else to the nearest integer, array by array."""
        for name, array in arrays(self.case).items():
            for index in np.ndindex(*array.shape):
                value = arrays(self.case)[name][index]
                for simpler in simpler_numbers(float(value)):
                    step = (name, *index, simpler)
                    if self.attempt(step, with_number(self.case, name, index, simpler)):
                        break


def possible(case: Case) -> bool:
    """Whether a head may be as wide: one that is turned in pairs of columns has to be even."""
    width = case.sizes.head_dim
    return case.subject.limits.head_dim(width) == width


def simpler_numbers(value: float) -> list[float]:
    """Simpler values to try in place of `value`, the simplest first."""
    candidates = [0.0, float(np.sign(value)), float(np.rint(value))]
    return [c for c in dict.fromkeys(candidates) if c != value and abs(c) <= abs(value) + 1]


def tied(case: Case) -> Iterator[Case]:
    """Two sizes that are the same, both smaller: a failure may need them to be."""
    s = case.sizes
    lengths = {
        axis: int(getattr(s, name))
        for axis, name in AXES.items()
        if axis not in ("inputs", "keys", "readers")
    }
    for (one, length), (other, same) in combinations(lengths.items(), 2):
        if length == same > 1:
            yield case.take(**{axis: list(range(length - 1)) for axis in (one, other)})
    if s.d_in == s.width and case.subject.has("rectangular"):
        for axis, size, share in (
            ("dims", s.head_dim, s.heads),
            ("heads", s.key_heads, s.head_dim * s.shared),
        ):
            if size > 1:
                fewer = {axis: list(range(size - 1)), "inputs": list(range((size - 1) * share))}
                yield case.take(**fewer)


def options(case: Case) -> Iterator[Case]:
    """Fewer options: the widest dtype, no bias, a full context, an even chance of dropout."""
    widest = case.subject.dtypes[0]
    if case.dtype != widest:
        yield replace(case, dtype=widest)
    if case.bias and case.subject.has("qkv-bias") and case.weights is not None:
        unbiased = replace(case.weights, query_bias=None, key_bias=None, value_bias=None)
        yield replace(case, bias=False, weights=unbiased)
    if case.sizes.context_length > case.sizes.tokens:
        yield replace(case, sizes=replace(case.sizes, context_length=case.sizes.tokens))
    if case.dropout != 0.5:
        yield replace(case, dropout=0.5)
    if case.seed:
        yield replace(case, seed=0)


def simple_arrays(case: Case) -> Iterator[Case]:
    """A whole array at its simplest: zero, or for a matrix the identity."""
    for name, array in arrays(case).items():
        simplest = np.eye(*array.shape) if array.ndim == 2 else np.zeros(array.shape)
        if np.count_nonzero(array != simplest) and array.size > 1:
            yield with_array(case, name, simplest)


def arrays(case: Case) -> dict[str, Array]:
    """All arrays of the case by name."""
    found: dict[str, Array] = {}

    def note(name: str, array: Array) -> Array:
        found[name] = array
        return array

    case.map_arrays(note)
    return found


def with_array(case: Case, name: str, array: Array) -> Case:
    """The case with one array exchanged."""
    return case.map_arrays(lambda other, old: array if other == name else old)


def with_number(case: Case, name: str, index: tuple[int, ...], value: float) -> Case:
    """The case with one number exchanged."""
    array = arrays(case)[name].copy()
    array[index] = value
    return with_array(case, name, array)
