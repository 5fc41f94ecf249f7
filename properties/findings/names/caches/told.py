"""What becomes of a mask when a sequence is fed in parts: wrong ways, each told by what it gives.

Legend: B batch, T tokens of a step, S tokens so far.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np

from properties.basics.errors import OutsideError, SubjectError
from properties.cases.case import Case
from properties.cases.question import Question, question
from properties.cases.steps import Steps, splits
from properties.cases.strategies import PLAIN_SIZES, coincide, make_case
from properties.spec.clauses.cache_masks import of_pairs
from properties.subjects.subject import Subject

PADDING, PAIRS = "cache/padding-stays-hidden", "cache/mask-of-pairs-goes-on"
SEEDS = (3, 4, 5)  # of masks, which together tell all ways apart
Way = Callable[[Any, int, Any], Any]


def ignored(told: Any, past: int, nothing: Any) -> Any:
    """Nothing is told."""
    return np.full_like(told, nothing)


def of_the_new(told: Any, past: int, nothing: Any) -> Any:
    """Nothing is told of the past."""
    return np.where(np.arange(told.shape[-1]) < past, nothing, told)


def of_the_past(told: Any, past: int, nothing: Any) -> Any:
    """Nothing is told of the step's own tokens."""
    return np.where(np.arange(told.shape[-1]) < past, told, nothing)


def on_the_first(told: Any, past: int, nothing: Any) -> Any:
    """What is told of the step's own tokens falls on the first keys."""
    return np.roll(of_the_new(told, past, nothing), -past, axis=-1)


def exchanged(told: Any, past: int, nothing: Any) -> Any:
    """What shows hides, and what hides shows."""
    return ~told if told.dtype == np.bool_ else -told


WAYS: Mapping[str, Mapping[str, Way]] = {
    PADDING: {
        "padding ignored beside a past": ignored,
        "padding of the new tokens alone beside a past": of_the_new,
        "padding of the past alone beside a past": of_the_past,
    },
    PAIRS: {
        "mask ignored beside a past": ignored,
        "mask of the new tokens alone beside a past": of_the_new,
        "mask of the past alone beside a past": of_the_past,
        "mask of the new tokens on the first keys beside a past": on_the_first,
        "True and False of the mask exchanged beside a past": exchanged,
    },
}
"""What each makes of what is told of the pairs (B, 1, T, S) of a step after so many tokens; nothing: what
says nothing, True or 0."""
LOOK = {
    PADDING: "what is told of padding where there is a past",
    PAIRS: "the rows and columns of the mask that count where there is a past",
}


def named(clause: str, case: Case) -> list[str]:
    """The way in which a mask is lost, as far as it agrees with all that the subject gives."""
    return [f"{way}; look for {LOOK[clause]}" for way in fitting(clause, case.subject)]


@lru_cache(maxsize=4)
def fitting(clause: str, subject: Subject) -> tuple[str, ...]:
    """The ways that agree with five tokens of two items, fed in parts under several masks."""
    sizes = coincide(replace(PLAIN_SIZES, heads=2), "all different", subject)
    given = (subject, sizes, told_apart_in(subject), "ordinary", False, 0.5, 1)
    cases = [make_case(*given, seed=seed) for seed in SEEDS]
    lengths = [[1] * sizes.tokens, *splits(sizes.tokens, 1)]
    roles = ("padding",) if clause == PADDING else subject.masked_steps
    asked = [*product(cases, roles, lengths)]
    try:
        return tuple(n for n, way in WAYS[clause].items() if all(agrees(*a, way) for a in asked))
    except (SubjectError, OutsideError):
        return ()


def told_apart_in(subject: Subject) -> str:
    """The format in which ways are held against a subject: one in which weights that are always computed
    in float32 are within their bounds, if it runs there.
    """
    return "float32" if "float32" in subject.cached_in else subject.cached_in[0]


def agrees(case: Case, role: str, lengths: Sequence[int], way: Way) -> bool:
    """Whether the outputs are those of such a way, within their bounds."""
    if role == "padding":
        asked = question(case, role)
        real = asked.arguments.padding
        assert real is not None  # it was asked for
        found = Steps(case).run(case.x, lengths, real=real)
        tokens = real.shape[1]
        pairs = np.broadcast_to(real[:, None, None], (len(real), 1, tokens, tokens))
    else:
        asked = of_pairs(case, role)
        found = Steps(case).run(case.x, lengths, told=asked.arguments)
        pairs = asked.arguments.given()[role]
    truth = counted(asked, role, pairs, lengths, way).truth
    with np.errstate(all="ignore"):
        off = np.abs(found - truth.output)
    return bool(((off <= truth.allowed) | np.isinf(truth.allowed)).all())


def counted(asked: Question, role: str, pairs: Any, lengths: Sequence[int], way: Way) -> Question:
    """A call on the whole with what counts in each step; what comes after a step is not there."""
    told = pairs.copy()
    hidden, nothing = (-np.inf, 0.0) if role == "bias" else (False, True)
    ends = np.cumsum(lengths)
    for start, end in zip(ends - lengths, ends, strict=True):
        told[:, :, start:end, end:] = hidden
        if start:
            told[:, :, start:end, :end] = way(pairs[:, :, start:end, :end], start, nothing)
    return asked.changed(padding=None, **{"bias" if role == "bias" else "mask": told})
