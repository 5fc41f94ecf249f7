"""cache/: what a step is told of earlier tokens hides, and counts, as in one call on the whole.

Legend: B batch, T tokens.
"""

from __future__ import annotations

import numpy as np

from properties.basics.assertions import near
from properties.cases.case import Case
from properties.cases.question import Question, question
from properties.cases.steps import Steps, in_words, splits
from properties.spec.clause import Condition, Level, clause
from properties.spec.clauses.cache import AXES, BY_CHUNK, CACHE
from properties.spec.clauses.mask import SHOWN
from properties.spec.clauses.padding import PADDED, REAL
from properties.subjects.subject import CAUSAL_FAMILIES


@clause(
    "cache/padding-stays-hidden",
    Level.MUST,
    "Tokens that are padding are hidden from later ones, too, when a sequence is fed in parts.",
    families=CAUSAL_FAMILIES,
    needs=CACHE | {"takes padding", "padding beside a cache"},
    counts=PADDED,
    after=(BY_CHUNK, REAL),
)
def padding_stays_hidden(case: Case) -> float:
    """Prompts of several lengths are padded to one batch, and go on token by token. A mask that is
    dropped beside a past, or is of the new tokens alone, shows the padding from the second step on.
    """
    asked = question(case, "padding")
    truth, real = asked.truth, asked.arguments.padding
    tokens, shares = case.sizes.tokens, []
    for lengths in ([1] * tokens, *splits(tokens, case.cut)):
        found = Steps(case).run(case.x, lengths, real=real)
        words = f"{in_words(lengths)}, some of them padding, an output of"
        shares.append(near(words, found, truth.output, truth.allowed, AXES))
    return max(shares)


def hides_an_earlier_one(case: Case) -> bool:
    """Whether the mask hides a token from a later one."""
    if case.call is None:
        return False
    return bool((np.tril(case.call.arrays["mask"] == 0, -1)).any())


BESIDE = "cache/mask-of-pairs-goes-on"
EARLIER = Condition("a mask that hides an earlier token", hides_an_earlier_one)


@clause(
    BESIDE,
    Level.MUST,
    "Fed in parts, each part told its rows of a mask of pairs, a sequence gives what one call with the "
    "whole mask gives.",
    families=CAUSAL_FAMILIES | {"encoder"},
    needs=CACHE | {"masks beside a cache"},
    counts=EARLIER,
    after=(BY_CHUNK, SHOWN, "mask/bias-is-added-to-the-scores"),
)
def mask_of_pairs_goes_on(case: Case) -> float | None:
    """T queries beside S keys have a mask (T, S), of which the last T columns are the step's own. A mask
    that is cut to these, that lies at the other end of the keys, that is dropped or inverted where there
    is a past, shows others. Numbers are added there as everywhere.
    """
    tokens, shares = case.sizes.tokens, []
    for role in case.subject.masked_steps:
        asked = of_pairs(case, role)
        truth = asked.truth
        for lengths in ([1] * tokens, *splits(tokens, case.cut)):
            found = Steps(case).run(case.x, lengths, told=asked.arguments)
            words = f"{in_words(lengths)}, with the rows of a {role}, an output of"
            shares.append(near(words, found, truth.output, truth.allowed, AXES))
    return max(shares, default=None)


def of_pairs(case: Case, role: str) -> Question:
    """A call on the whole with a mask, or a bias, that shows nobody the future and everybody himself."""
    drawn = question(case, role)
    past = np.tri(case.sizes.tokens, dtype=np.bool_)
    pairs = drawn.arguments.given()[role][:, :1]
    if case.subject.one_mask:
        pairs = np.repeat(pairs[:1], len(pairs), axis=0)
    if role == "bias":
        return drawn.changed(bias=np.where(past, pairs, -np.inf))
    return drawn.changed(mask=past & pairs | np.eye(len(past), dtype=np.bool_))
