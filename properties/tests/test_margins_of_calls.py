"""The same as `test_margins` of laws about what a call is told, a cache, positions, and what is put back:
no budget is a thousand times as wide as what rounding makes of it, and every law looks.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import pytest
from torch import Tensor

from properties.recognition.targets import find
from properties.runs.result import Result
from properties.runs.runner import Run
from properties.spec.clause import Clause, clauses
from properties.subjects.subject import Subject
from properties.tests.test_margins import COMPILED, FEW, NO_TOLERANCE, TAILS, VISIBLE, by_a_unit
from properties.tests.test_margins import REFUSED as REFUSED_BY_MODULES
from properties.tests.test_margins import comparing as comparing_modules
from properties.tests.test_segments import same_segment
from properties.zoo.faults import restored
from properties.zoo.rights.placed import window_from_the_bottom_right
from properties.zoo.wide import sound_ones

WIDE = (
    "sdpa-as-documented",
    "flash-in-one-matrix",
    "packed-in-one-matrix",
    "rotary-by-neighbours",
    "rotary-of-a-part",
    "cached-by-the-caller",
    "cached-with-padding",
    "cross-with-two-masks",
    "grouped-by-repeating",
)
TARGETS: tuple[tuple[Callable[..., Any], str | None], ...] = (
    *((sound_ones()[name].target, None) for name in WIDE),
    (sound_ones()["multihead-in-three-projections"].target, "encoder"),
    (restored.PlainBounded, None),
    (restored.PlainAlibi, None),
    (restored.PlainSinks, None),
    (restored.PlainNormed, None),
    (same_segment, None),
    (window_from_the_bottom_right, None),
    (sound_ones()["cached-under-a-mask"].target, None),
    (sound_ones()["cached-in-a-dict-of-layers"].target, None),
    (sound_ones()["kept-in-a-tuple"].target, None),
)
"""Right functions and modules, and the families that they are asked as."""

UNMET = {"shape/half-precision-runs", "state/survives-deferred-construction"}
"""What each of them should do, and some do not."""
REFUSED = {"error/mask-of-another-size", "error/padding-of-another-size"}
"""Laws that compare nothing where the subject refuses, as these do."""
EXACT = {"score/norms-leave-values-alone"}
"""Laws that want the same numbers again."""
ADDED = {"score/norms-give-one-length"}
"""Laws that leave room for a number of unknown size that the subject may add."""
EMPTY = {"mask/empty-row-is-answered-as-ever", "mask/empty-row-has-no-bad-gradient"}
"""Laws about rows that see nothing, which are zero or NaN here."""


def jittery(target: Callable[..., Any]) -> Callable[..., Any]:
    """The function or class, each number that it returns off by one unit in the last place or by none."""
    inner = target.forward if isinstance(target, type) else target

    @functools.wraps(inner)
    def called(*arguments: Any, **options: Any) -> Any:
        found = inner(*arguments, **options)
        if isinstance(found, tuple):
            return tuple(by_a_unit(p) if isinstance(p, Tensor) else p for p in found)
        return by_a_unit(found)

    if not isinstance(target, type):
        return called
    return type(target.__name__, (target,), {"forward": called, "__doc__": target.__doc__})


@cache
def subject(number: int) -> Subject:
    """One of the targets with jitter."""
    target, family = TARGETS[number]
    return find(jittery(target), family)[0]


def asked_of(clause: Clause) -> list[int]:
    """The first function among the targets that a law concerns, and the first module."""
    concerned = [n for n in range(len(TARGETS)) if clause.concerns(subject(n))]
    found = {subject(number).bare: number for number in reversed(concerned)}
    return list(found.values())


def laws() -> list[str]:
    """Each clause that compares within a tolerance, and that no plain module is asked."""
    others = {id for id, _ in comparing_modules()} | REFUSED_BY_MODULES | COMPILED
    others |= NO_TOLERANCE | TAILS | REFUSED | EXACT | ADDED | EMPTY
    returned = {
        id: inspect.signature(clause.check).return_annotation for id, clause in clauses().items()
    }
    return [id for id, kind in returned.items() if id not in others and kind.startswith("float")]


def used(id: str) -> Iterator[Result]:
    """What one clause says of right subjects with jitter."""
    for number in asked_of(clauses()[id]):
        yield from Run(subject(number), [clauses()[id]], FEW, 0).report().results


@pytest.mark.parametrize("id", laws())
def test_what_is_right_uses_a_visible_share_of_each_budget(id: str) -> None:
    """More than a thousandth of it, and no more than all."""
    results = list(used(id))
    assert results
    for result in results:
        assert result.status == "pass", result.message
        assert VISIBLE < result.margin <= 1.0
