"""memory/: a call leaves what it was given as it was, and what it gives is its own."""

from __future__ import annotations

from properties.basics.assertions import near, require
from properties.cases.case import Case
from properties.cases.question import Question, crossed, question, taken
from properties.spec.clause import Level, clause


def everything(case: Case) -> list[Question]:
    """One call for each argument that is an array, and one without."""
    roles = taken(case, "mask", "bias", "padding", "slopes")
    return [question(case), *(question(case, role) for role in roles), *of_contexts(case)]


def of_contexts(case: Case) -> list[Question]:
    """The same with a context, where a module takes one."""
    if "context" not in case.subject.takes:
        return []
    roles = taken(case, "context_mask", "context_bias", "context_padding")
    return [crossed(case), *(crossed(case, role.removeprefix("context_")) for role in roles)]


@clause(
    "memory/arguments-are-not-written-to",
    Level.MUST,
    "Queries, keys, values and masks are the caller's: they hold the same numbers after the call.",
    needs={"told by calls"},
)
def not_written_to(case: Case) -> None:
    """A mask that is inverted in place is another mask at the next call."""
    for asked in everything(case):
        touched = asked.answer().touched
        require(
            not touched, "every argument to be left as it was", f"{' and '.join(touched)} changed"
        )


@clause(
    "memory/output-is-no-view-of-an-input",
    Level.MUST,
    "The output has memory of its own: writing to it changes no input.",
    needs={"told by calls"},
)
def no_view(case: Case) -> None:
    """With one key, or nothing to mix, a shortcut returns the values themselves."""
    for asked in everything(case):
        shared = asked.answer().shared
        require(
            not shared,
            "an output with memory of its own",
            f"it shares that of {' and '.join(shared)}",
        )


@clause(
    "memory/earlier-call-is-forgotten",
    Level.MUST,
    "A call is answered as by a new module, whatever an earlier one was told.",
    needs={"told by calls"},
)
def earlier_call_is_forgotten(case: Case) -> float:
    """A mask that was joined to a buffer, or kept for its length, hides in the next batch as well. A module
    with a causal flag is asked with it on and off in turn, and for other numbers of tokens.
    """
    return max(
        near(
            f"after {earlier.words} an output of",
            asked.answer(after=earlier).output,
            asked.answer().output,
            2.0 * asked.truth.allowed,
            "batch query column",
        )
        for asked, earlier in pairs(case)
    )


def of_flags(case: Case) -> list[tuple[Question, Question]]:
    """The causal flag of a module off after on, on after off, and on for more tokens and for fewer."""
    if "causal" not in case.subject.takes or case.subject.bare:
        return []
    plain, flag = question(case), question(case, "causal")
    if case.sizes.tokens == 1:
        return [(plain, flag), (flag, plain)]
    fewer = flag.without([case.sizes.tokens - 1])
    return [(plain, flag), (flag, plain), (flag, fewer), (fewer, flag)]


def pairs(case: Case) -> list[tuple[Question, Question]]:
    """A call, and one before it to the same module; a context is followed by another one."""
    plain, told = question(case), everything(case)
    same = [(plain, earlier) for earlier in told if earlier.asked_of is plain.asked_of]
    same += of_flags(case)
    if "context" not in case.subject.takes:
        return same
    context = crossed(case)
    return [*same, (context, context.exchanged(range(context.shape[3])))]
