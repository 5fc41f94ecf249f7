"""mask/: a mask of keys says which tokens of an item are real; the others might as well not be there."""

from __future__ import annotations

import numpy as np

from properties.basics.assertions import near
from properties.cases.agreement import same_output
from properties.cases.case import Case
from properties.cases.question import padding_as_numbers, question
from properties.spec.clause import Condition, Level, clause
from properties.spec.clauses.mask import SEVERAL, several_keys

REAL = "mask/padding-shows-what-is-real"
AS_NUMBERS = "mask/padding-as-numbers"
PADDING = {"takes padding"}
PADDED = Condition(
    "an item with padding",
    lambda case: case.call is not None and bool((case.call.arrays["padding"] == 0).any()),
)


@clause(
    REAL,
    Level.MUST,
    "With a mask of keys each query mixes the keys that are real, by the formula, and no others.",
    needs=PADDING,
    counts=PADDED,
)
def shows_what_is_real(case: Case) -> float:
    """Every item has padding of its own, anywhere in it. A mask that acts on queries, on other items,
    after the softmax or not at all gives other numbers.
    """
    return question(case, "padding").agrees()


@clause(
    AS_NUMBERS,
    Level.MUST,
    "A mask of keys that is handed over as zeros and minus infinities hides what the boolean one hides.",
    needs=PADDING | {"takes padding_numbers"},
    counts=PADDED,
    after=(REAL,),
    examples=6,
)
def zeros_and_minus_infinities(case: Case) -> float:
    """It is added to the scores. A mask that is looked at only where it is boolean hides nothing then."""
    asked = question(case, "padding")
    return near(
        "with padding as zeros and minus infinities an output of",
        padding_as_numbers(asked).answer().output,
        asked.truth.output,
        asked.truth.allowed,
        "batch query column",
    )


@clause(
    "mask/padding-numbers-are-added",
    Level.MUST,
    "Numbers in a mask of keys are added to the scores of the keys, small ones too.",
    needs={"takes padding_numbers"},
    counts=SEVERAL,
    after=(AS_NUMBERS,),
)
def padding_numbers_are_added(case: Case) -> float:
    """z_ij + b_j, as PyTorch documents for its key_padding_mask. One that is made into booleans hides
    every key whose number is not zero, or none whose number is above minus infinity.
    """
    return question(case, "padding_numbers").agrees()


@clause(
    "mask/padding-side-does-not-matter",
    Level.MUST,
    "Real tokens give the same whether they are padded on the left or on the right.",
    needs={"padding anywhere"},
    counts=SEVERAL,
    after=(REAL,),
)
def side_does_not_matter(case: Case) -> float | None:
    """The last key is padding; then it stands first, and all others one place later. A length in place
    of a mask, counted from the left, hides a real token then.
    """
    if not several_keys(case):
        return None
    batch, _, _, keys = question(case).shape
    real = np.broadcast_to(np.arange(keys) < keys - 1, (batch, keys)).copy()
    right = question(case, padding=real)
    left = right.mapped(lambda array, axis: np.roll(array, 1, axis)).changed(
        padding=np.roll(real, 1, axis=1)
    )
    here = slice(None) if right.function else slice(None, -1)
    there = slice(None) if right.function else slice(1, None)
    return same_output("padded on the left", left, right, np.s_[:, there], np.s_[:, here])


@clause(
    "mask/joins-padding",
    Level.MUST,
    "A mask of pairs and a mask of keys hide together: neither takes the other's place.",
    needs=PADDING | {"takes mask"},
    counts=PADDED,
    after=(REAL, "mask/shows-what-it-shows"),
)
def joins_padding(case: Case) -> float:
    """What either of them hides is hidden. A row that sees nothing then is judged by its own clause."""
    return question(case, "mask", "padding").agrees()
