"""window/: a window says how many keys before and after its own position a query sees.

Whether the query's own key is counted is a convention, found before.
"""

from __future__ import annotations

from properties.cases.case import Case
from properties.cases.question import question
from properties.spec.clause import Condition, Level, clause

EXACT = "window/exactly-these-keys"
WINDOW = {"takes window"}


def narrow(case: Case) -> bool:
    """Whether the window leaves keys out, and not all of them."""
    return case.call is not None and case.call.keys > 3


NARROW = Condition("more than three keys", narrow)


def causally(case: Case) -> bool | None:
    """The flag that goes with a window of the past, where there is one."""
    return True if "causal" in case.subject.takes else None


@clause(
    EXACT,
    Level.MUST,
    "A query sees as many keys of the past as the window says, and no more.",
    needs=WINDOW,
    counts=NARROW,
)
def exactly_these_keys(case: Case) -> float:
    """Windows of none, one and two others, with the causal flag where there is one: with one key too
    many or too few a row is another mixture.
    """
    return max(
        question(case).changed(window=(left, 0), causal=causally(case)).agrees()
        for left in range(3)
    )


@clause(
    "window/both-sides",
    Level.MUST,
    "Without the causal flag the window has two sides, each with its own width.",
    needs={"takes window", "two-sided window"},
    counts=NARROW,
    after=(EXACT,),
)
def both_sides(case: Case) -> float:
    """(1, 0), (0, 1), (2, 1): what is exchanged, or used for both, shows."""
    pairs = ((1, 0), (0, 1), (2, 1))
    return max(question(case).changed(window=pair).agrees() for pair in pairs)


@clause(
    "window/joins-the-causal-flag",
    Level.MUST,
    "A window and the causal flag hide together: neither takes the other's place.",
    needs={"takes window", "takes causal", "two-sided window"},
    counts=NARROW,
    after=(EXACT,),
)
def joins_the_causal_flag(case: Case) -> float:
    """A window that is open to the future, and the flag that closes it."""
    return max(
        question(case, "causal").changed(window=window).agrees() for window in ((1, 2), (1, -1))
    )


@clause(
    "window/wide-is-none",
    Level.MUST,
    "A window as wide as the row changes nothing.",
    needs=WINDOW,
    after=(EXACT,),
)
def wide_is_none(case: Case) -> float:
    """One more than the keys there are, on each side. A window of one width is of the past: it hides the
    future, as ever, and nothing else.
    """
    keys = question(case).shape[3]
    one_side = causally(case) or not case.subject.has("two-sided window")
    wide = (keys + 1, 0) if one_side else (keys + 1, keys + 1)
    return question(case).changed(window=wide, causal=causally(case)).agrees()


@clause(
    "window/joins-a-mask",
    Level.MUST,
    "A window and a mask hide together.",
    needs={"takes window", "takes mask"},
    counts=NARROW,
    after=(EXACT, "mask/shows-what-it-shows"),
)
def joins_a_mask(case: Case) -> float:
    """What either hides is hidden."""
    return question(case, "mask").changed(window=(2, 0), causal=causally(case)).agrees()
