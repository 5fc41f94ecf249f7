"""What both sides may be told besides tokens: the same calls, and by which conventions they are read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations

from properties.basics.assertions import Violation
from properties.basics.dtypes import Array
from properties.basics.errors import SubjectError
from properties.cases.case import Case
from properties.cases.question import Question, crossed, question, taken
from properties.compare.outcome import Agreement, Change
from properties.compare.results import Pair, agree, attempt
from properties.recognition.asking.finding import ASKED
from properties.subjects.call import PLACED, ROLES
from properties.subjects.card import conventions_of

TOLD = (*ASKED, "start")
OF_CONTEXTS = ("mask", "bias", "padding")
BY_THE_OUTPUT = frozenset({"rotary"})  # told where outputs differ, as why
HANGS_ON = {"align": PLACED, "window": ("window",), "sides": ("window",)}
"""By the convention, the roles whose effect depends on it; others are told as each side wants."""


def compare_conventions(pair: Pair, differ: bool) -> list[Change]:
    """Those by which the same call means something else than it did; differ: whether outputs do."""
    old, new = (conventions_of(side) for side in pair.sides)
    return [
        Change("convention", name, old[name]["answer"], new[name]["answer"])
        for name in old
        if name in new
        and old[name]["answer"] != new[name]["answer"]
        and (differ or name not in BY_THE_OUTPUT)
    ]


def compare_arguments(pair: Pair) -> tuple[list[Change], list[str]]:
    """Arguments of a call that are gone, or say something else; other names, and what keeps its default,
    are notes.
    """
    old, new = (side.takes for side in pair.sides)
    changes = [lost(pair, role) for role in old if role in ROLES and role not in new]
    renamed = {(old[role], new[role]) for role in old if role in new and old[role] != new[role]}
    notes = [f"the argument {was} of a call is {now} now" for was, now in sorted(renamed)]
    kept = sorted({*pair.old.unasked, *pair.new.unasked})
    if kept:
        notes.append(f"not compared, because they keep their defaults: {', '.join(kept)}")
    return changes, notes


def lost(pair: Pair, role: str) -> Change:
    """What a call can be told no more: its argument is gone, or is there and has no such effect."""
    argument, what = pair.old.takes[role], f"a call may be told {ROLES[role]}"
    if argument and argument in {*pair.new.takes.values(), *pair.new.unasked}:
        return Change("calls", what, f"by {argument}", f"{argument} is taken, and does not say so")
    return Change("interface", what, argument or "yes", "no")


@dataclass
class CallDiffers(Violation):
    """What two sides are told when they differ, by role."""

    told: tuple[str, ...] = ()


def compare_calls(pair: Pair, case: Case) -> Agreement:
    """The outputs of the case's calls, in eval; Violation where one that the old side answers gives another
    output, or none.
    """
    found = Agreement()
    for asked in told(pair, case):
        old, new = (attempt(partial(output, asked), case, side) for side in pair.sides)
        if isinstance(old, SubjectError):
            found += Agreement(raised=int(isinstance(new, SubjectError)))
        elif isinstance(new, SubjectError):
            raise CallDiffers(f"{asked.words} to give a result", str(new), {}, roles(asked))
        else:
            what, allowed = f"{asked.words} to give an output of", 2.0 * asked.truth.allowed
            try:
                found += agree(what, old, new, allowed, "batch query column", case.sizes.tokens)
            except Violation as v:
                raise CallDiffers(v.expected, v.actual, v.where, roles(asked)) from None
    return found


def roles(asked: Question) -> tuple[str, ...]:
    """What the call is told, by role; "lengths" where that is its inputs alone."""
    if asked.function or "context" not in asked.inputs:
        return (*asked.arguments.given(),) or ("lengths",)
    return ("context", *(f"context_{role}" for role in asked.arguments.given()))


def output(asked: Question, case: Case) -> Array:
    """What the case's subject gives where it is asked the same."""
    return replace(asked, case=case).answer().output


def told(pair: Pair, case: Case) -> Iterator[Question]:
    """The case's calls: one role told at a time, then two; then those with a context."""
    if case.call is None:
        return
    roles = taken(case, *(role for role in TOLD if role not in placed_otherwise(pair)))
    takes = case.subject.takes
    pairs = [(a, b) for a, b in combinations(roles, 2) if takes[a] != takes[b]]
    for together in [(), *((role,) for role in roles), *pairs]:
        yield question(case, *together)
    if "context" in takes:
        yield crossed(case)
        for role in OF_CONTEXTS:
            if f"context_{role}" in takes:
                yield crossed(case, role)


def placed_otherwise(pair: Pair) -> set[str]:
    """The roles that have another effect by the new side's conventions: that is told by itself."""
    old, new = (conventions_of(side) for side in pair.sides)
    none = {"answer": ""}
    other = [n for n in HANGS_ON if old.get(n, none)["answer"] != new.get(n, none)["answer"]]
    return {role for name in other for role in HANGS_ON[name]}
