"""mask/, cross/, groups/, window/, score/: the gradients of a call that is told something.

They are those by queries, keys, values and a bias; the formula's, derived by the chain rule. A kernel
with a backward pass of its own has to be told everything twice, and may forget it the second time.
"""

from __future__ import annotations

import numpy as np

from properties.basics.assertions import first_of, require
from properties.basics.errors import OutsideError
from properties.cases.call_gradients import BY_DEFAULT, agree, upstream
from properties.cases.case import Case
from properties.cases.question import Question, flags, question
from properties.spec.clause import Condition, Level, clause
from properties.spec.clauses.cross import OTHER, UNEQUAL
from properties.spec.clauses.groups import READS, SHARED
from properties.spec.clauses.mask import (
    HIDING,
    SEVERAL,
    SHOWN,
    beyond_float16,
    last,
    several_keys,
    with_hidden,
)
from properties.spec.clauses.score import CAP, FURTHER, SCALE
from properties.spec.clauses.window import EXACT, NARROW, causally

GRADIENTS = {"gradients", "gradients of calls"}
OTHER_LENGTHS = "cross/gradients-of-other-lengths"
SUMMED = "groups/gradient-is-summed-over-the-group"
ENOUGH = 8  # examples: each has several formats' worth of numbers, and a backward pass is dear
FOLLOW = "mask/gradients-follow-the-mask"


@clause(
    FOLLOW,
    Level.MUST,
    "With a mask the gradients of queries, keys and values are those of what it shows.",
    needs={"takes mask"} | GRADIENTS,
    counts=HIDING,
    after=(SHOWN, OTHER_LENGTHS),
    examples=ENOUGH,
)
def gradients_follow_the_mask(case: Case) -> float:
    """The gradient of z is w (dw - sum_k w_k dw_k), where w is zero for what is
    hidden; a mask of its own for each item, head and query, and what the causal flag hides besides,
    where there is one.
    """
    asked = [question(case, "mask").changed(causal=flag) for flag in flags(case)]
    return max(agree(one) for one in asked)


@clause(
    "mask/hidden-key-has-no-gradient",
    Level.MUST,
    "A key that is hidden from every query has a gradient of exactly zero, and so has its value.",
    needs={"takes mask"} | GRADIENTS,
    counts=SEVERAL,
    after=(SHOWN,),
    examples=ENOUGH,
)
def hidden_key_has_no_gradient(case: Case) -> None:
    """Its weight is exactly zero, and so is each product with it. No rounding makes something of that;
    a NaN, as of zero times infinity, is none either.
    """
    if not several_keys(case):  # a query that sees nothing has a clause of its own
        return
    place = last(case)
    asked = with_hidden(question(case), [place])
    given = asked.gradients(upstream(asked))
    for name in ("keys", "values"):
        of_hidden = given[name][:, :, place]
        wrong = of_hidden[of_hidden != 0.0]
        require(
            not wrong.size,
            f"a gradient of the {name} of exactly 0 where no query sees",
            first_of(wrong),
            key=place,
        )


@clause(
    "mask/empty-row-has-no-bad-gradient",
    Level.MUST,
    "A query that sees nothing, and on which nothing depends, leaves all gradients finite and right.",
    needs={"takes mask"} | GRADIENTS,
    counts=Condition("at least two queries", lambda case: case.sizes.tokens > 1),
    after=(OTHER_LENGTHS, "mask/empty-row-harms-no-other"),
    examples=ENOUGH,
)
def empty_row_has_no_bad_gradient(case: Case) -> float:
    """The first query of each item sees nothing, as padding does, and its output enters no loss. What
    repairs its NaN in the forward pass alone still sends NaN back to all keys and values. Where NaN
    is the convention, or all that float16 can have, nothing is claimed.
    """
    asked = question(case)
    mask = np.ones(asked.shape, dtype=np.bool_)
    mask[:, :, 0] = False
    asked = asked.changed(mask=mask)
    if beyond_float16(case, asked.answer().output[:, 0]):
        raise OutsideError("a query that sees nothing, in float16")
    return agree(asked)


@clause(
    "mask/gradient-of-a-bias",
    Level.SHOULD,
    "A bias on the scores gets their gradient.",
    needs={"takes bias"} | GRADIENTS,
    counts=FURTHER,
    after=("mask/bias-is-added-to-the-scores", OTHER_LENGTHS),
    examples=ENOUGH,
)
def gradient_of_a_bias(case: Case) -> float:
    """A learned bias is trained by it: that of z, without the scale. Without it training goes on, and
    the bias stays as it was.
    """
    return agree(question(case, "bias"), "bias", *BY_DEFAULT)


@clause(
    OTHER_LENGTHS,
    Level.MUST,
    "With other numbers of queries and keys every query, key and value gets its gradient.",
    needs={"takes lengths"} | GRADIENTS,
    counts=UNEQUAL,
    after=(OTHER, SUMMED),
    examples=ENOUGH,
)
def gradients_of_other_lengths(case: Case) -> float:
    """With the causal flag and without, where there is one."""
    asked = [question(case).changed(causal=flag) for flag in flags(case)]
    return max(agree(one) for one in asked)


@clause(
    SUMMED,
    Level.MUST,
    "The gradient of a key or value that several heads read is the sum of what each head sends back.",
    needs={"takes groups"} | GRADIENTS,
    counts=SHARED,
    after=(READS,),
    examples=ENOUGH,
)
def summed_over_the_group(case: Case) -> float:
    """Not the mean, and not that of the first or last head: heads that write to one place overwrite."""
    return agree(question(case))


@clause(
    "window/no-gradient-outside-the-window",
    Level.MUST,
    "With a window the gradients are those of the keys inside it.",
    needs={"takes window"} | GRADIENTS,
    counts=NARROW,
    after=(EXACT, OTHER_LENGTHS),
    examples=ENOUGH,
)
def no_gradient_outside(case: Case) -> float:
    """A window of one key before the query's own, and two-sided ones where there are two sides. What
    comes back to a key is that of the queries that see it, and zero if there are none.
    """
    told: list[Question] = [question(case).changed(window=(1, 0), causal=causally(case))]
    if case.subject.has("two-sided window"):
        told += [question(case).changed(window=pair) for pair in ((1, 0), (0, 1))]
    return max(agree(asked) for asked in told)


@clause(
    "score/gradient-goes-through-the-cap",
    Level.MUST,
    "With a cap the gradient of a score is multiplied by 1 - tanh(z / c)^2.",
    needs={"takes cap"} | GRADIENTS,
    counts=FURTHER,
    after=(CAP, OTHER_LENGTHS),
    examples=ENOUGH,
)
def through_the_cap(case: Case) -> float:
    """The derivative of c tanh(z / c). Left out, scores beyond the cap are pushed on for ever."""
    return agree(question(case, "cap"))


@clause(
    "score/gradient-with-a-given-scale",
    Level.MUST,
    "With a given scale the gradients of queries and keys are multiplied by it, once.",
    needs={"takes scale"} | GRADIENTS,
    counts=FURTHER,
    after=(SCALE, OTHER_LENGTHS),
    examples=ENOUGH,
)
def with_a_given_scale(case: Case) -> float:
    """Not by 1 / sqrt(head_dim), which is what the backward pass of a kernel may still have."""
    return agree(question(case, "scale"))
