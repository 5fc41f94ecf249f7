"""cache/: keys and values of a context that are kept answer as the context itself does, and no other.

Legend: B batch, T tokens of x.
"""

from __future__ import annotations

from properties.basics.assertions import near
from properties.basics.dtypes import Array
from properties.cases.case import Case
from properties.cases.kept_contexts import Kept
from properties.cases.question import Question, crossed, taken
from properties.cases.steps import in_words, splits
from properties.spec.clause import Condition, Level, clause
from properties.spec.clauses.cache import AXES
from properties.spec.clauses.conditions import SEVERAL_TOKENS
from properties.spec.clauses.cross import OTHER

KEPT = "cache/kept-context-answers-as-the-context"
MASKED = "cache/mask-of-a-kept-context-hides"
ANOTHER = "cache/another-context-answers-by-itself"
NEEDS = {"takes context", "context is kept"}
MASKS = ("context_mask", "context_bias", "context_padding")
HIDING = Condition(
    "a mask of the context, and at least two tokens of x",
    lambda case: case.sizes.tokens > 1 and bool(taken(case, *MASKS)),
)


def in_parts(tokens: int, cut: int) -> list[list[int]]:
    """Ways to feed so many tokens of x: one by one, and in chunks."""
    return [[1] * tokens, *splits(tokens, cut)]


def share(what: str, found: Array, asked: Question) -> float:
    """An output is what one call with the context should give."""
    return near(f"{what} an output of", found, asked.truth.output, asked.truth.allowed, AXES)


def kept(asked: Question) -> float:
    """The same in every way to feed x, and to go on."""
    case, shares = asked.case, []
    for later in case.subject.later:
        for lengths in in_parts(case.sizes.tokens, case.cut):
            found = Kept(asked).run(asked, lengths, later)
            words = f"{asked.words}, which is kept, {in_words(lengths)},"
            shares.append(share(words, found, asked))
    return max(shares)


@clause(
    KEPT,
    Level.MUST,
    "With the keys and values of a context kept, every later call gives what one with the context gives.",
    needs=NEEDS,
    counts=SEVERAL_TOKENS,
    after=(OTHER,),
)
def as_the_context(case: Case) -> float:
    """A decoder asks its encoder's states anew for each token, and makes keys and values of them once. What
    is kept is neither appended to nor exchanged, and is each item's own, whether the context is handed
    over again or not.
    """
    return kept(crossed(case))


@clause(
    MASKED,
    Level.MUST,
    "A mask of the context hides in later calls, too, when its keys and values are kept.",
    needs=NEEDS | {"hides a kept context"},
    counts=HIDING,
    after=(KEPT,),
)
def mask_hides(case: Case) -> float:
    """Where keys come from a cache, a mask that was for the context is easily taken for one of x, or
    left out.
    """
    roles = [role.removeprefix("context_") for role in taken(case, *MASKS)]
    return max(kept(crossed(case, role)) for role in roles)


@clause(
    ANOTHER,
    Level.MUST,
    "After a context was kept, another one answers by itself, with the cache begun anew or without it.",
    needs=NEEDS,
    counts=SEVERAL_TOKENS,
    after=(KEPT,),
)
def another_by_itself(case: Case) -> float:
    """The second text has its own source. What is kept in the module, or longer than it is asked for,
    answers by the first one's.
    """
    asked, later = crossed(case), case.subject.later[0]
    other, lengths = asked.exchanged(range(asked.shape[3])), [1] * case.sizes.tokens
    module = Kept(asked)
    module.run(other, lengths, later)
    without, anew = module.alone(asked), module.run(asked, lengths, later)
    after = "after another context was kept,"
    return max(
        share(f"{after} without the cache,", without, asked),
        share(f"{after} with the cache begun anew,", anew, asked),
    )
