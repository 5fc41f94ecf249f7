"""paths/ and mask/: a module gives the same in every mode, and the gradients of what it is told.

In training and in eval, with gradients recorded and without, with weights wanted and without: some
modules have a path of their own for each.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from properties.basics.assertions import near, require
from properties.basics.dtypes import Array
from properties.basics.errors import OutsideError, SubjectError
from properties.cases.call_gradients import agree_by_x
from properties.cases.case import Case
from properties.cases.question import Question, question, taken
from properties.spec.clause import Condition, Level, clause
from properties.spec.clauses.mask import SHOWN
from properties.spec.clauses.paths import ENOUGH, FURTHER
from properties.subjects.call import Handing

MODES = {
    "in eval, no gradients recorded,": Handing(),
    "in eval, gradients recorded,": Handing(gradients=True),
    "in training without dropout": Handing(gradients=True, training=True),
}
HIDING = ("mask", "bias", "padding", "causal")


def modes(case: Case) -> dict[str, Handing]:
    """Those in which nothing is dropped, as far as the constructor can be told so."""
    dropping = not case.subject.has("dropout")
    return {words: mode for words, mode in MODES.items() if not (mode.training and dropping)}


@clause(
    "paths/modes-of-a-module",
    Level.MUST,
    "A call of a module gives the same in training without dropout and in eval, and whether gradients "
    "are recorded or not.",
    needs={"modes of calls"},
    counts=FURTHER,
    examples=ENOUGH,
)
def modes_of_a_module(case: Case) -> float:
    """What is trained is what is used afterwards. A faster path for inference takes the same masks
    otherwise, or loses one; some of these take an even number of heads alone, and so is what is asked.
    """
    case = with_even_heads(case)
    asked = [question(case), *(question(case, role) for role in taken(case, *HIDING))]
    return max(
        near(
            f"{one.words} {words} to give an output of",
            one.answer(handing=mode).output,
            one.truth.output,
            one.truth.allowed,
            "batch query column",
        )
        for one in asked
        for words, mode in modes(case).items()
    )


@clause(
    "paths/one-answer-to-a-row-that-sees-nothing",
    Level.SHOULD,
    "A query that sees nothing gets one answer: whether weights are wanted or not, in training without "
    "dropout and in eval.",
    needs={"modes of calls", "takes padding"},
    counts=Condition("at least two heads", lambda case: case.sizes.heads > 1),
    examples=ENOUGH,
)
def one_answer(case: Case) -> None:
    """All keys of the first item are padding. A softmax over nothing has no value, so zeros, NaN and the
    mean are each a convention, and none of them is wrong; which of them comes may still not depend on
    how one asks. Whoever trains on zeros and meets NaN in eval has lost a run, and no real token: a
    row of which nothing is to be used is no row of which attention is computed wrongly. Hence SHOULD.
    """
    if case.sizes.heads == 1:
        return
    asked = question(with_even_heads(case), "padding")
    real = np.ones((asked.shape[0], asked.shape[3]), dtype=np.bool_)
    real[0] = False
    ways = ways_of(asked.changed(padding=real), modes(case))
    try:
        found = {words: kind(one, one.answer(handing=mode).output) for words, one, mode in ways}
    except SubjectError as error:
        raise OutsideError("a query that sees nothing") from error
    require(
        len(set(found.values())) == 1,
        "one answer to a query that sees nothing",
        ", ".join(f"{answer} {words}" for words, answer in found.items()),
    )


def with_even_heads(case: Case) -> Case:
    """The same without its last head, where their number is odd and not one."""
    s = case.sizes
    odd = s.heads % 2 and s.key_heads > 1
    return case.take(heads=range(s.key_heads - 1)) if odd else case


def ways_of(asked: Question, modes: dict[str, Handing]) -> list[tuple[str, Question, Handing]]:
    """How one may ask, in words: with weights, and without in each mode."""
    more = "weights" in asked.case.subject.takes
    without = "without " if more else ""
    short = {
        "in eval, no gradients recorded,": "in eval",
        "in training without dropout": "in training",
    }
    told = [
        (f"{without}{short[words]}", asked, mode) for words, mode in modes.items() if words in short
    ]
    wanted = asked.changed(weights=True)
    return [*([("with weights", wanted, Handing())] if more else []), *reversed(told)]


def kind(asked: Question, output: Array) -> str:
    """Which of the known answers the first item gets."""
    if np.isnan(output[0]).all():
        return "NaN"
    for name, words in {"zeros": "zeros", "uniform": "the mean of all values"}.items():
        subject = asked.case.subject.held_to({"empty": name})
        right = replace(asked, case=replace(asked.case, subject=subject)).truth
        if (np.abs(output - right.output) <= right.allowed_if_empty)[0].all():
            return words
    return "other numbers"


@clause(
    "mask/gradient-of-a-module-follows-its-masks",
    Level.MUST,
    "With a mask the gradient of a module's input is that of what is seen, and a query that sees nothing, "
    "on which nothing depends, leaves it finite and right.",
    needs={"gradients of modules", "gradients"},
    counts=FURTHER,
    after=(SHOWN, "mask/empty-row-harms-no-other"),
    examples=ENOUGH,
)
def gradient_follows(case: Case) -> float:
    """By the chain rule. What repairs a NaN in the forward pass alone still sends NaN back to all tokens.
    Where NaN is the convention, nothing is claimed of that.
    """
    asked = [question(case), *(question(case, role) for role in taken(case, *HIDING))]
    if "mask" in case.subject.takes:
        mask = np.ones(asked[0].shape, dtype=np.bool_)
        mask[:, :, 0] = False
        asked.append(asked[0].changed(mask=mask))
    return max(agree_by_x(one) for one in asked)
