"""Findings of what came: what is wrong, and of which kind it is."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from properties.basics.dtypes import Array
from properties.judging.hosted import Came
from properties.judging.judgement import Finding
from properties.judging.plan import Content, Question
from properties.vectors.selection import far
from properties.vectors.wrong import wrong_ones

WRONG = "wrong result"
ORDER = (1, 2, 4)  # which contents the calls have, counted from one


@dataclass
class Asked:
    """One question and what came: of the calls with contents 0, 1 and 3, and of what was held.

    moved: whether the first result changed as its inputs' storage was refilled, reused: as another call
    was made; stale: content 2 lay in the first storage at the last call.
    """

    question: Question
    calls: list[Came] = field(default_factory=list)
    moved: bool = False
    reused: bool = False
    burst: list[Came] = field(default_factory=list)

    @property
    def wanted(self) -> list[Content]:
        """What each call should give."""
        return [self.question.contents[n - 1] for n in ORDER[: len(self.calls)]]

    def right(self, number: int) -> bool:
        """Whether a call gave what it should."""
        return fits(self.calls[number], self.wanted[number])

    @property
    def all_right(self) -> bool:
        """Whether each did."""
        return all(self.right(number) for number in range(len(self.calls)))

    @property
    def answered(self) -> bool:
        """Whether there is a result of each call."""
        return all(came.result is not None for came in self.calls)


def fits(came: Came, content: Content) -> bool:
    """Whether a result is within the bounds of what a content should give, and complete."""
    if came.result is None:
        return False
    rows = came.result[:, :, content.rows]
    with np.errstate(invalid="ignore"):
        near = far(rows, content.right) <= content.allowed
    return bool(near.all() and not np.isnan(came.result).any())


def findings(asked: list[Asked]) -> list[Finding]:
    """All of them, each kind once, with the first question that shows it and how many do."""
    named = [(kind, words, one) for one in asked for kind, words in of_one(one)]
    number = Counter(kind for kind, _, _ in named)
    found: dict[str, str] = {}
    for kind, words, one in named:
        if kind not in found:
            more = f" So in {number[kind]} questions." if number[kind] > 1 else ""
            like = looks(one) if kind == WRONG else ""
            found[kind] = words + (f" It looks like: {like}." if like else "") + more
            special = of_special_inputs(asked) if kind == WRONG and not like else ""
            if special:
                found["special inputs alone"] = f"{special}: {found.pop(WRONG)}"
    return [Finding(kind, words) for kind, words in found.items()]


def of_one(one: Asked) -> list[tuple[str, str]]:
    """What one question shows."""
    where = f"in {one.question.dtype}, {one.question.about}"
    found = []
    for came in one.calls:
        if came.raised:
            found.append(("raised", f"{where}: {came.raised}."))
        if came.odd:
            found.append(("no such result", f"{where}: it gave {came.odd}."))
        if came.written:
            names = ", ".join(came.written)
            found.append(("input written to", f"{where}: {names} is not what was handed in."))
        if came.beyond:
            words = "numbers beyond the ends of the array that it was given are changed"
            found.append(("written beyond the output", f"{where}: {words}."))
    if one.moved:
        words = "the result changed as its inputs' storage was given other content"
        found.append(("output aliases an input", f"{where}: {words}."))
    elif one.reused:
        words = "the result of one call changed as another one was made"
        found.append(("reused output", f"{where}: {words}."))
    if one.calls and one.answered:
        found += of_results(one, where)
    return found


def of_results(one: Asked, where: str) -> list[tuple[str, str]]:
    """What is wrong with the numbers."""
    if one.all_right:
        contents, held = one.question.contents, not (one.moved or one.reused)
        if held and not all(fits(c, contents[2 + n % 2]) for n, c in enumerate(one.burst)):
            words = (
                "right when it is called once, wrong in a row of calls with nothing between them"
            )
            return [("first calls alone", f"{where}: {words}.")]
        return []
    return [incomplete(one, where) or cheat(one, where) or wrong(one, where)]


def incomplete(one: Asked, where: str) -> tuple[str, str] | None:
    """Numbers that are none."""
    for came, content in zip(one.calls, one.wanted, strict=True):
        assert came.result is not None
        missing = int(np.isnan(came.result).sum())
        if missing and not np.isnan(content.right).any():
            words = f"{missing} of {came.result.size} numbers are NaN: never written, or read from outside"
            return ("incomplete output", f"{where}: {words}.")
    return None


def cheat(one: Asked, where: str) -> tuple[str, str] | None:
    """Numbers that come from elsewhere than from what was asked."""
    contents, calls = one.question.contents, one.calls
    for number in (1, 2):
        earlier = (*contents[:number],)
        if number < len(calls) and not one.right(number):
            if any(fits(calls[number], content) for content in earlier):
                words = f"call {number + 1} gave what was right for an earlier call"
                return ("cached answer", f"{where}: {words}.")
            if number == 2 and fits(calls[2], contents[2]):
                words = "it gave what is right for what lies in the storage of an earlier call"
                return ("stale pointer", f"{where}: {words}.")
    if len({came.bits for came in calls}) == 1 and len(calls) > 1:
        return ("constant answer", f"{where}: the same numbers came for other inputs.")
    return None


def wrong(one: Asked, where: str) -> tuple[str, str]:
    """The worst element of the first wrong call, and which known faults give the same."""
    number = next(n for n in range(len(one.calls)) if not one.right(n))
    content, result = one.wanted[number], one.calls[number].result
    assert result is not None
    rows = result[:, :, content.rows]
    apart = far(rows, content.right)
    share = apart / np.maximum(content.allowed, 1e-30)
    place = np.unravel_index(int(share.argmax()), share.shape)
    at = [int(i) for i in place]
    at[2] = int(content.rows[at[2]])
    text = f"element {tuple(at)} is {rows[place]:.6g}, expected {content.right[place]:.6g}"
    beyond = int((apart > content.allowed).sum())
    text += f" within {content.allowed[place]:.2g}; {beyond} of {rows.size} are beyond their bound"
    return (WRONG, f"{where}: {text}.")


def looks(one: Asked) -> str:
    """The known faults that give what came in each call."""
    if len(one.wanted[0].rows) < one.wanted[0].vector.shape[2]:
        return ""  # of a long call some rows alone are known
    left: set[str] | None = None
    for came, content in zip(one.calls, one.wanted, strict=True):
        assert came.result is not None
        like = {
            name
            for name, parts in wrong_ones(content.vector)
            if parts.output.shape == came.result.shape
            and (far(came.result, parts.output) <= loosely(content, parts.output)).all()
        }
        left = like if left is None else left & like
    return " or ".join(sorted(left or ()))


def loosely(content: Content, wrong: Array) -> Array:
    """As near as a right result must be, or an eighth of what the fault moves at most."""
    moved = far(wrong, content.right)
    return np.maximum(content.allowed, np.max(moved[np.isfinite(moved)], initial=0.0) / 8.0)


def of_special_inputs(asked: list[Asked]) -> str:
    """Where it is right, if that is where no attention is needed and nowhere else."""
    special = [one for one in asked if one.question.special and one.calls and one.all_right]
    rest = [one for one in asked if not one.question.special and one.calls]
    if not special or any(one.all_right for one in rest):
        return ""
    right = "; ".join(dict.fromkeys(one.question.about for one in special))
    return f"right for {right}, and wrong everywhere else"
