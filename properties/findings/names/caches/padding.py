"""What becomes of padding when a sequence is fed in parts: wrong ways, each told by what it gives.

Legend: B batch, T tokens of a step, S tokens so far.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np

from properties.basics.errors import OutsideError, SubjectError
from properties.cases.case import Case
from properties.cases.question import question
from properties.cases.steps import Steps, splits
from properties.cases.strategies import PLAIN_SIZES, coincide, make_case
from properties.subjects.call import Seen
from properties.subjects.subject import Subject

CLAUSE = "cache/padding-stays-hidden"
LOOK = "what is told of padding where there is a past"
WAYS: Mapping[str, tuple[bool, bool]] = {
    "padding ignored beside a past": (False, False),
    "padding of the new tokens alone beside a past": (False, True),
    "padding of the past alone beside a past": (True, False),
}
"""Whether what is told of earlier tokens counts, and what is told of those of the step."""


def named(case: Case) -> list[str]:
    """The way in which padding is lost, as far as it agrees with all that the subject gives."""
    return [f"{way}; look for {LOOK}" for way in fitting(case.subject)]


@lru_cache(maxsize=2)
def fitting(subject: Subject) -> tuple[str, ...]:
    """The ways that agree with five padded tokens of two items, fed in parts, where one is wrong."""
    sizes = coincide(replace(PLAIN_SIZES, heads=2), "all different", subject)
    case = make_case(subject, sizes, subject.cached_in[0], "ordinary", False, 0.5, 1, seed=3)
    tokens = case.sizes.tokens
    lengths = [[1] * tokens, *splits(tokens, 1)]
    try:
        return tuple(w for w in WAYS if all(agrees(case, each, WAYS[w]) for each in lengths))
    except (SubjectError, OutsideError):
        return ()


def agrees(case: Case, lengths: Sequence[int], way: tuple[bool, bool]) -> bool:
    """Whether the outputs are those of such a way, within their bounds."""
    asked = question(case, "padding")
    real = asked.arguments.padding
    assert real is not None  # it was asked for
    found = Steps(case).run(case.x, lengths, real=real)
    truth = asked.changed(padding=None, mask=shown(real, lengths, way)).truth
    with np.errstate(all="ignore"):
        return bool((np.abs(found - truth.output) <= truth.allowed).all())


def shown(real: Seen, lengths: Sequence[int], way: tuple[bool, bool]) -> Seen:
    """(B, 1, S, S), which keys the padding leaves to each query."""
    tokens = real.shape[1]
    mask = np.ones((len(real), 1, tokens, tokens), dtype=np.bool_)
    ends = np.cumsum(lengths)
    for start, end in zip(ends - lengths, ends, strict=True):
        told = real.copy()
        if start and not way[0]:
            told[:, :start] = True
        if start and not way[1]:
            told[:, start:] = True
        mask[:, :, start:end] = told[:, None, None]
    return mask
