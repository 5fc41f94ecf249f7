"""What becomes of a context that is kept from call to call: wrong ways, each told by what it gives.

Legend: B batch, T tokens of x, S tokens of a context.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache

import numpy as np

from properties.basics.dtypes import Array
from properties.basics.errors import OutsideError, SubjectError
from properties.cases.kept_contexts import Kept, rows_of
from properties.cases.question import Question, crossed, taken
from properties.cases.strategies import PLAIN_SIZES, coincide, make_case
from properties.spec.clauses.cache_contexts import ANOTHER, KEPT, MASKED, MASKS
from properties.subjects.subject import Subject

SEEDS = (3, 4, 5)  # of masks, which together tell all ways apart
Way = Callable[[Question, int], Question]


def beside_x(asked: Question, before: int) -> Question:
    """Keys of x stand behind those of the context."""
    context = np.concatenate([asked.inputs["context"], asked.inputs["x"]], axis=1)
    return asked.with_inputs({**asked.inputs, "context": context})


def of_the_first_item(asked: Question, before: int) -> Question:
    """All items read the context of the first one."""
    context = asked.inputs["context"]
    first = np.broadcast_to(context[:1], context.shape)
    return asked.with_inputs({**asked.inputs, "context": first})


def without_masks(asked: Question, before: int) -> Question:
    """What is told of the context is left out."""
    return asked.changed(mask=None, bias=None, padding=None)


def appended(asked: Question, before: int) -> Question:
    """The context stands behind itself as often as there were calls, and is seen there."""
    a, context = asked.arguments, asked.inputs["context"]
    whole = asked.with_inputs({**asked.inputs, "context": np.tile(context, (1, before + 1, 1))})
    further = before * context.shape[1]
    told = {
        name: longer(array, further, 0.0 if name == "bias" else True)
        for name, array in a.given().items()
        if name in ("mask", "bias", "padding")
    }
    return whole.changed(**told)


def longer(told: Array, further: int, nothing: float) -> Array:
    """With so many keys more, of which nothing is said."""
    ends = [(0, 0)] * (told.ndim - 1) + [(0, further)]
    return np.pad(told, ends, constant_values=nothing)


WAYS: Mapping[str, Mapping[str, Way]] = {
    KEPT: {
        "keys of x beside the kept context": beside_x,
        "kept context of the first item for all": of_the_first_item,
    },
    MASKED: {
        "kept context of the first item for all": of_the_first_item,
        "mask of the context ignored beside what is kept": without_masks,
        "context appended at every call": appended,
    },
}
"""What the answer to one token of x, after so many calls, is the right one to."""
UNASKED, OUTLIVES = "kept context used unasked", "kept context outlives a reset"
LOOK = {
    KEPT: "what a call reads and writes where keys of the context are there",
    MASKED: "what hides keys of the context where these are kept",
    ANOTHER: "when keys of the context that are kept are read, and when they are forgotten",
}


def named(clause: str, subject: Subject) -> list[str]:
    """The way in which a context is kept wrongly, as far as it agrees with all that the subject gives."""
    try:
        found = fitting(clause, subject)
    except (SubjectError, OutsideError):
        return []
    return [f"{way}; look for {LOOK[clause]}" for way in found]


@lru_cache(maxsize=4)
def fitting(clause: str, subject: Subject) -> tuple[str, ...]:
    """The ways that agree with five tokens of two items, fed one by one; SubjectError where one raises."""
    sizes = coincide(replace(PLAIN_SIZES, heads=2), "all different", subject)
    dtype = "float32" if "float32" in subject.kept_in else subject.kept_in[0]
    cases = [make_case(subject, sizes, dtype, "ordinary", False, 0.5, 1, seed=n) for n in SEEDS]
    if clause == ANOTHER:
        return outliving(crossed(cases[0]))
    roles = [role.removeprefix("context_") for role in taken(cases[0], *MASKS)]
    told = [(role,) for role in roles] if clause == MASKED else [()]
    asked = [crossed(case, *roles) for case in cases for roles in told]
    pairs = [(one, later) for one in asked for later in subject.later]
    wrong = [pair for pair in pairs if not agrees(*pair, lambda one, before: one)]
    known = WAYS[clause].items()
    return tuple(n for n, way in known if wrong and all(agrees(*pair, way) for pair in wrong))


def agrees(asked: Question, later: str, way: Way) -> bool:
    """Whether tokens that are fed one by one are answered in such a way from the second one on."""
    tokens = asked.shape[2]
    found = Kept(asked).run(asked, [1] * tokens, later)
    return all(
        near(found[:, n : n + 1], way(rows_of(asked, n, n + 1), n) if n else rows_of(asked, 0, 1))
        for n in range(tokens)
    )


def near(found: Array, asked: Question) -> bool:
    """Whether an output is the right one to a question, within its bounds."""
    with np.errstate(all="ignore"):
        off = np.abs(found - asked.truth.output)
    return bool(((off <= asked.truth.allowed) | np.isinf(asked.truth.allowed)).all())


def outliving(asked: Question) -> tuple[str, ...]:
    """Where another context, that was kept before, answers."""
    other, lengths = asked.exchanged(range(asked.shape[3])), [1] * asked.shape[2]
    module, later = Kept(asked), asked.case.subject.later[0]
    module.run(other, lengths, later)
    answers = {UNASKED: module.alone(asked), OUTLIVES: module.run(asked, lengths, later)}
    found = [name for name, output in answers.items() if not near(output, asked)]
    return tuple(name for name in found if near(answers[name], other))
