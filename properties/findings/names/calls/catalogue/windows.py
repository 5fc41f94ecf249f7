"""Wrong triangles and windows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from properties.cases.question import Question
from properties.findings.names.calls.catalogue import asks
from properties.findings.names.calls.catalogue.masks import shown
from properties.findings.names.calls.form import by
from properties.subjects.call import PLACED, Seen
from properties.truth import visibility
from properties.truth.visibility import Align

CORNER = "where the causal diagonal lies for T != S"
WIDTH = "the comparison of a distance with the width of the window"
SIDES = "which side of the window is which"
Pair = tuple[int, int]


def aligned(asked: Question) -> Align:
    """Where the diagonal lies by the subject's convention."""
    kept = asked.case.subject.conventions.align
    return "bottom right" if kept == "bottom right" else "top left"


def other(asked: Question) -> Align:
    """The other corner."""
    return "top left" if aligned(asked) == "bottom right" else "bottom right"


def seeing(asked: Question, seen: Seen) -> Question:
    """With a mask that hides what is not seen, beside the given one."""
    return asked.changed(mask=shown(asked) & seen)


def in_place_of_the_past(asked: Question, seen: Seen) -> Question:
    """With these keys shown by the causal flag, where that hides any."""
    return seeing(asked.changed(causal=False), seen) if asked.hides_the_future else asked


@asks("causal ignored", "where the causal flag is used", "causal")
def causal_ignored(asked: Question) -> Question:
    """The future is seen."""
    return asked.changed(causal=False)


@asks("causal where nothing is hidden", "where the causal flag is used")
def causal_wherever_there_is_a_flag(asked: Question) -> Question:
    """The future is hidden, whatever the flag says."""
    return asked.changed(causal=True) if "causal" in asked.case.subject.takes else asked


@asks("causal shows the future alone", "the comparison in the causal mask", "causal")
def shows_the_future(asked: Question) -> Question:
    """`<=` for `>=`: the past is hidden. Of a function's single query that may be the other corner."""
    _, _, tokens, keys = asked.shape
    if asked.function:
        return asked
    return in_place_of_the_past(asked, visibility.ahead(tokens, keys, aligned(asked)) >= 0)


@asks("causal corner changes", CORNER, "causal")
def other_corner(asked: Question) -> Question:
    """The other one than the subject keeps elsewhere."""
    _, _, tokens, keys = asked.shape
    return in_place_of_the_past(asked, visibility.causal(tokens, keys, other(asked)))


@asks("causal shows the next token", "the comparison in the causal mask", "causal")
def shows_the_next(asked: Question) -> Question:
    """`>` for `>=`."""
    _, _, tokens, keys = asked.shape
    ahead = visibility.ahead(tokens, keys, aligned(asked))
    return in_place_of_the_past(asked, ahead <= 1)


@asks("causal shows the next token", "the comparison in the causal mask", "causal")
def shows_the_next_beside_a_window(asked: Question) -> Question:
    """The flag takes the place of the window's right side."""
    left, _ = asked.arguments.window or (-1, -1)
    return shows_the_next(asked.changed(window=(left, -1)))


@asks("causal shows the next token", "the comparison in the causal mask", *PLACED)
def shows_the_next_of_unequal_numbers(asked: Question) -> Question:
    """Where keys and queries differ in number; then no probe can tell the corner, which is the last."""
    if asked.case.subject.conventions.align:
        return asked
    told, (_, _, tokens, keys) = by(asked, align="bottom right"), asked.shape
    return (
        shows_the_next_beside_a_window(told) if told.arguments.causal and tokens != keys else told
    )


@asks("causal shows the next token", "the comparison in the causal mask", "causal")
def shows_the_next_of_any_numbers(asked: Question) -> Question:
    """Wherever no probe can tell the corner, which is the last."""
    if asked.case.subject.conventions.align:
        return asked
    return shows_the_next(by(asked, align="bottom right"))


@asks("causal hides oneself", "the comparison in the causal mask", "causal")
def hides_oneself(asked: Question) -> Question:
    """`>` for `>=`, the other way."""
    _, _, tokens, keys = asked.shape
    ahead = visibility.ahead(tokens, keys, aligned(asked))
    return in_place_of_the_past(asked, ahead < 0)


def window(called: str, look: str) -> Callable[[Callable[[int, int], Pair]], None]:
    """Enter a form that has another window."""

    def enter(change: Callable[[int, int], Pair]) -> None:
        @asks(called, look, "window")
        def other_window(asked: Question) -> Question:
            return asked.changed(window=change(*(asked.arguments.window or (-1, -1))))

    return enter


def limited(side: int, change: int) -> int:
    """A side that has a limit, changed, but not below zero."""
    return max(side + change, 0) if side >= 0 else side


window("window ignored", "where the window is used")(lambda left, right: (-1, -1))
window("window keeps one more", WIDTH)(lambda left, right: (limited(left, 1), limited(right, 1)))
window("window keeps one more", WIDTH)(lambda left, right: (limited(left, 1), right))
window("window counts oneself", WIDTH)(lambda left, right: (limited(left, -1), limited(right, -1)))
window("window counts oneself", WIDTH)(lambda left, right: (limited(left, -1), right))
window("sides of the window exchanged", SIDES)(lambda left, right: (right, left))
window("right side of the window ignored", SIDES)(lambda left, right: (left, -1))
window("left side of the window ignored", SIDES)(lambda left, right: (-1, right))
window("left side of the window used for both", SIDES)(lambda left, right: (left, left))
window("window of 0 taken for none", "the test whether there is a window")(
    lambda left, right: (left or -1, right or -1)
)


@asks("window from the top left", "where the window lies for T != S", "window")
def from_the_top_left(asked: Question) -> Question:
    """The first query stands at the first key."""
    _, _, tokens, keys = asked.shape
    seen = visibility.window(tokens, keys, *(asked.arguments.window or (-1, -1)), other(asked))
    return seeing(asked.changed(window=None), seen)


@asks("window from the top left", "where the window lies for T != S", "window")
def left_side_from_the_top_left(asked: Question) -> Question:
    """Causal rows have the diagonal for a right side, which is where it should be."""
    left, right = asked.arguments.window or (-1, -1)
    return from_the_top_left(asked.changed(window=(left, -1 if asked.arguments.causal else right)))


@asks("window replaces causal", "the branch that a window leads into", "window")
def window_replaces_causal(asked: Question) -> Question:
    """The flag is forgotten."""
    return asked.changed(causal=False)


@asks("window replaces causal", "the branch that a window leads into", "window")
def right_side_replaces_causal(asked: Question) -> Question:
    """A right side that is given is kept."""
    _, right = asked.arguments.window or (-1, -1)
    return asked.changed(causal=False) if right >= 0 else asked


@asks("window replaces the mask", "the branch that a window leads into", "window")
def window_replaces_the_mask(asked: Question) -> Question:
    """The mask is forgotten."""
    return asked.changed(mask=None, bias=None)


@asks("as many keys as queries", "a length that is taken from the queries")
def as_many_keys_as_queries(asked: Question) -> Question:
    """Keys beyond the number of queries are never read."""
    _, _, tokens, keys = asked.shape
    return seeing(asked, np.arange(keys) < tokens)
