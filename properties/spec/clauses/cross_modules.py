"""cross/: modules whose keys and values are made of a context, and what hides some of its tokens.

Queries are made of x. Whether True shows or hides in a mask of the context is a convention, found or
declared before; a subject is held to it.
"""

from __future__ import annotations

import numpy as np

from properties.basics.assertions import near
from properties.cases.agreement import same_output
from properties.cases.case import Case
from properties.cases.context_gradients import agree
from properties.cases.question import crossed, question
from properties.spec.clause import Condition, Level, clause
from properties.spec.clauses.cross import OTHER
from properties.subjects.subject import CAUSAL_FAMILIES, FAMILIES

CONTEXT = {"takes context"}
ENOUGH = 8  # examples: a backward pass is dear
SHOWN = "cross/mask-of-the-context-shows-what-it-shows"
REAL = "cross/padding-of-the-context-is-hidden"


def hiding(role: str) -> Condition:
    """Something is hidden by what is drawn for a role."""
    return Condition(
        "a token of the context that is hidden",
        lambda case: case.call is not None and bool((case.call.arrays[role] == 0).any()),
    )


SEVERAL = Condition(
    "a context of several tokens", lambda case: case.call is not None and case.call.others > 1
)
PADDED_X = Condition(
    "an item of x with padding",
    lambda case: case.call is not None and bool((case.call.arrays["padding"] == 0).any()),
)


@clause(
    "cross/values-come-from-the-context",
    Level.MUST,
    "Where all tokens of a context are the same, a query is answered by their value, whatever x is.",
    needs=CONTEXT,
    after=(OTHER,),
)
def values_come_from_the_context(case: Case) -> float:
    """The weights sum to one, so x has no part in the output but by them. Values that are made of x, or
    keys of x beside those of the context, show.
    """
    asked = crossed(case)
    tokens = asked.shape[3]
    same = asked.mapped(lambda array, axis: np.repeat(np.take(array, [0], axis), tokens, axis))
    other = same.with_inputs({**same.inputs, "x": case.other})
    return same_output("with another x", other, same)


@clause(
    "cross/values-are-made-of-their-own-tokens",
    Level.MUST,
    "Where keys and values are handed in apart, keys are made of the one and values of the other.",
    needs=CONTEXT | {"takes context_values"},
    counts=SEVERAL,
    after=(OTHER,),
)
def values_of_their_own(case: Case) -> float:
    """The same tokens for both, but for values in another order. In attention of a sequence to itself
    nobody sees whether one of them is read twice.
    """
    asked = crossed(case)
    turned = np.flip(asked.inputs["context"], axis=1)
    return asked.with_inputs({**asked.inputs, "context_values": turned}).agrees()


@clause(
    "cross/without-a-context-x-is-its-own",
    Level.MUST,
    "Without a context x attends to itself, as with x handed in for a context.",
    families=set(FAMILIES) - CAUSAL_FAMILIES,
    needs=CONTEXT,
    unless={"positions"},
    after=(OTHER,),
)
def without_a_context(case: Case) -> float:
    """Two ways to ask the same. A branch of its own for one of them may leave out a scale or exchange
    two parts. Where positions turn x, and no context, they are two questions.
    """
    alone = question(case)
    itself = alone.with_inputs({**alone.inputs, "context": case.x})
    return same_output("with itself for a context", itself, alone)


@clause(
    "cross/gradients-of-x-and-the-context",
    Level.MUST,
    "X gets the gradient of its queries, and a context that of its keys and values.",
    needs=CONTEXT | {"gradients of contexts"},
    after=(OTHER,),
    examples=ENOUGH,
)
def gradients(case: Case) -> float | None:
    """The chain rule's. What is computed once for a context and kept without a gradient leaves its encoder
    untrained, and no output tells. A row that sees nothing may give NaN, and so may all gradients then.
    """
    asked = crossed(case)
    return None if asked.truth.empty.any() else agree(asked)


@clause(
    SHOWN,
    Level.MUST,
    "With a boolean mask of the context each query mixes the tokens that are shown to it, and no others.",
    needs=CONTEXT | {"takes context_mask"},
    counts=hiding("context_mask"),
    after=(OTHER,),
)
def shows_what_it_shows(case: Case) -> float:
    """A mask (T, S) of its own for each item, with more tokens of the context than of x and with fewer."""
    return crossed(case, "mask").agrees()


@clause(
    "cross/bias-of-the-context-is-added",
    Level.MUST,
    "Numbers handed in for queries and tokens of the context are added to their scores.",
    needs=CONTEXT | {"takes context_bias"},
    after=(OTHER,),
)
def bias_is_added(case: Case) -> float:
    """Once, after the scale, before the softmax."""
    return crossed(case, "bias").agrees()


@clause(
    REAL,
    Level.MUST,
    "With a mask of the context's tokens each query mixes those that are real, and no others.",
    needs=CONTEXT | {"takes context_padding"},
    counts=hiding("context_padding"),
    after=(OTHER,),
)
def padding_is_hidden(case: Case) -> float:
    """Every item has padding of its own, anywhere in the context. A mask that acts on other items, on
    queries, after the softmax or not at all gives other numbers.
    """
    return crossed(case, "padding").agrees()


@clause(
    "cross/padded-context-equals-a-shorter-one",
    Level.MUST,
    "Padding of a context might as well not be there.",
    needs=CONTEXT | {"takes context_padding"},
    unless={"placed to the end", "always causal"},
    counts=SEVERAL,
    after=(REAL,),
)
def padded_equals_shorter(case: Case) -> float | None:
    """The last token is padding, and holds large numbers; or it is cut out."""
    asked = crossed(case)
    batch, _, _, tokens = asked.shape
    if tokens == 1:
        return None
    place = [tokens - 1]
    real = np.broadcast_to(np.arange(tokens) < tokens - 1, (batch, tokens)).copy()
    padded = asked.exchanged(place).changed(padding=real)
    fewer = asked.without(place)
    return same_output("with padding behind the context", padded, fewer)


@clause(
    "cross/padding-of-x-hides-no-token-of-the-context",
    Level.MUST,
    "A mask of x's own tokens hides none of the context: a real query is answered as without it.",
    needs=CONTEXT | {"padding of x"},
    counts=PADDED_X,
    after=(OTHER, "mask/padding-shows-what-is-real"),
)
def padding_of_x(case: Case) -> float:
    """Where x and the context are equally long, a mask of one that falls on the other is silent. What a
    query gives that is padding itself is left open.
    """
    asked = crossed(case)
    real = question(case, "padding").arguments.padding
    told = asked.changed(padding_of_x=real)
    return near(
        "with a mask of x an output of",
        np.where(np.asarray(real)[..., None], told.answer().output, asked.truth.output),
        asked.truth.output,
        asked.truth.allowed,
        "batch query column",
    )
