"""paths/: two ways to ask for the same thing give the same.

A function may have a path for training and one for inference, one for a flag and one for a mask, one
for tensors that lie in memory in one piece and one for the others.
"""

from __future__ import annotations

import numpy as np

from properties.basics.assertions import near
from properties.basics.errors import SubjectError
from properties.cases.agreement import same_output
from properties.cases.call_dropout import weights_hold
from properties.cases.case import Case
from properties.cases.question import Question, question, taken
from properties.spec.clause import Condition, Level, clause
from properties.subjects.call import Answer, Handing
from properties.truth import visibility

HANDED = {"function", "told by calls"}
ENOUGH = 6  # examples: each of them is asked in many ways
FURTHER = Condition("at least two keys", lambda case: case.call is not None and case.call.keys > 1)


def told(case: Case) -> list[Question]:
    """A call without arguments, and one with each that can hide or shift."""
    roles = taken(case, "mask", "bias", "causal", "window")
    return [question(case), *(question(case, role) for role in roles)]


def handed(asked: Question, answer: Answer, what: str) -> float:
    """The same output as when handed over plainly; returns the share of both budgets used."""
    return near(
        f"{asked.words} {what} to give an output of",
        answer.output,
        asked.answer().output,
        2.0 * asked.truth.allowed,
        "batch query column",
    )


@clause(
    "paths/with-and-without-gradients",
    Level.MUST,
    "A call gives the same whether its inputs require a gradient or not.",
    needs=HANDED | {"gradients of calls", "gradients"},
    counts=FURTHER,
    examples=ENOUGH,
)
def with_and_without_gradients(case: Case) -> float:
    """What is trained is what is used afterwards. Kernels for inference take other arguments, or take
    the same ones otherwise.
    """
    handing = Handing(gradients=True)
    what = "on inputs that require a gradient"
    return max(handed(asked, asked.answer_handing(handing), what) for asked in told(case))


@clause(
    "paths/flag-and-mask-agree",
    Level.MUST,
    "The causal flag is as a mask of the same triangle.",
    needs={"takes causal", "takes mask"},
    counts=FURTHER,
    after=("mask/shows-what-it-shows",),
    examples=ENOUGH,
)
def flag_and_mask_agree(case: Case) -> float:
    """With as many keys as queries and with others, where they are taken: the triangle lies as was found
    for the flag.
    """
    flag = question(case, "causal")
    _, _, queries, keys = flag.shape
    triangle = np.broadcast_to(visibility.causal(queries, keys, flag.align), flag.shape)
    mask = flag.changed(causal=False, mask=np.ascontiguousarray(triangle))
    return same_output("the causal flag to be as a mask of the same triangle,", flag, mask)


@clause(
    "paths/order-in-memory",
    Level.MUST,
    "How tensors lie in memory does not matter.",
    needs=HANDED,
    counts=FURTHER,
    examples=ENOUGH,
)
def order_in_memory(case: Case) -> float | None:
    """Queries, keys, values and what is told besides, one of them at a time: transposed, or with other
    numbers between its own. A kernel that takes one tensor's strides for another's reads these. What
    is refused is not judged.
    """
    shares = []
    for asked in told(case):
        parts = ("queries", "keys", "values") if not asked.arguments.given() else ("told",)
        for which in parts:
            for how in ("transposed", "spaced"):
                try:
                    answer = asked.answer_handing(Handing(stored=how, which=which))
                except SubjectError:
                    continue
                shares.append(handed(asked, answer, f"({which} {how} in memory)"))
    return max(shares, default=None)


@clause(
    "paths/an-item-alone-or-in-a-batch",
    Level.MUST,
    "An item of a batch gives what it gives alone.",
    needs=HANDED,
    counts=Condition("at least two items", lambda case: case.sizes.batch > 1),
    examples=ENOUGH,
)
def an_item_alone(case: Case) -> float:
    """The last item by itself, with its own mask, bias or flag."""
    shares = []
    for together in told(case):
        own = {n: a[-1:] for n, a in together.arguments.given().items() if n in ("mask", "bias")}
        alone = together.with_inputs({n: a[-1:] for n, a in together.inputs.items()}).changed(**own)
        shares.append(
            same_output(
                f"{alone.words} and one item alone to give", alone, together, here=np.s_[-1:]
            )
        )
    return max(shares)


@clause(
    "paths/hides-under-dropout",
    Level.MUST,
    "With dropout a call hides what it hides without, and what is left of the weights is scaled alike.",
    needs=HANDED | {"dropout of calls"},
    counts=FURTHER,
    examples=ENOUGH,
    after=("shape/output-shape", "packed/each-document-by-the-formula"),
)
def hides_under_dropout(case: Case) -> float:
    """With values of zeros and ones the output is the weights themselves: zero where a key is hidden, and
    elsewhere zero or w / (1 - p). A path of its own for dropout may forget a mask, a bias, the flag or
    a window.
    """
    return max(weights_hold(asked) for asked in told(case))


@clause(
    "memory/same-storage-new-numbers",
    Level.MUST,
    "Tensors that are filled with new numbers give what new tensors give.",
    needs=HANDED,
    counts=FURTHER,
    examples=ENOUGH,
)
def same_storage(case: Case) -> float:
    """Buffers are used again from step to step. What was made of the old numbers, or remembered by their
    address, is stale then.
    """
    handing = Handing(again=True)
    what = "in the tensors of a call before"
    return max(handed(asked, asked.answer_handing(handing), what) for asked in told(case))
