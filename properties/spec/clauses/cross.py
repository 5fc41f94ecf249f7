"""cross/: queries and keys may come from different tokens, and be of different numbers."""

from __future__ import annotations

import numpy as np

from properties.cases.agreement import same_output
from properties.cases.case import Case
from properties.cases.question import Question, crossed
from properties.spec.clause import Condition, Level, clause

OTHER = "cross/as-many-keys-as-there-are"


def unequal(case: Case) -> bool:
    """Whether there are more or fewer keys than queries."""
    return case.call is not None and case.call.others not in (0, case.sizes.tokens)


UNEQUAL = Condition("more or fewer keys than queries", unequal)
LENGTHS = {"takes lengths"}


@clause(
    OTHER,
    Level.MUST,
    "T queries and S keys give T rows, each a mixture of all S values.",
    needs=LENGTHS,
    counts=UNEQUAL,
)
def as_many_keys(case: Case) -> float:
    """Nothing hidden: every row by the formula, with more keys than queries and with fewer."""
    return crossed(case).agrees()


@clause(
    "cross/each-query-alone",
    Level.MUST,
    "A query is answered as if it were asked alone.",
    needs=LENGTHS,
    unless={"placed to the end", "always causal"},
    counts=Condition("at least two queries", lambda case: case.sizes.tokens > 1),
    after=(OTHER,),
)
def each_query_alone(case: Case) -> float:
    """The first query by itself: the same row. Nothing is hidden, so its place does not matter, unless
    positions count from the last one, or a function always hides the future.
    """
    together = crossed(case)
    alone = first_query(together)
    return same_output("a query asked alone to give", alone, together, here=np.s_[:, :1])


@clause(
    "cross/order-of-keys-does-not-matter",
    Level.MUST,
    "Keys may come in any order, each with its value.",
    needs=LENGTHS,
    unless={"placed", "always causal"},
    counts=Condition(
        "at least two keys", lambda case: case.call is not None and case.call.others > 1
    ),
    after=(OTHER,),
)
def order_of_keys(case: Case) -> float:
    """Nothing hidden, the keys turned round: the same sum in another order, unless positions turn them, or
    a function always hides the future.
    """
    asked = crossed(case)
    other = asked.mapped(np.flip)
    return same_output("with the keys in another order", other, asked)


@clause(
    "cross/causal-diagonal-is-kept",
    Level.MUST,
    "With other numbers of queries and keys the causal flag hides by one convention, everywhere.",
    needs={"takes lengths", "takes causal"},
    counts=UNEQUAL,
    after=(OTHER,),
)
def diagonal(case: Case) -> float:
    """Top left: query i sees keys 0 to i (torch, JAX, Keras). Bottom right: the last query sees the last
    key (flash attention from 2.1 on). Which of the two was found for small sizes, or is declared by the
    signature; one that changes with the sizes is an error. The flag of a module may be for x alone, and
    hide nothing of a context; beside a mask of the context both hide.
    """
    masks = [role for role in ("mask", "padding") if f"context_{role}" in case.subject.takes]
    beside = ((), *((role,) for role in masks))  # a function has no masks of a context
    return max(crossed(case, "causal", *roles).agrees() for roles in beside)


def first_query(asked: Question) -> Question:
    """The first query by itself."""
    name, axis = ("queries", 2) if asked.function else ("x", 1)
    return asked.with_inputs({**asked.inputs, name: np.take(asked.inputs[name], [0], axis)})
