"""The specification: every clause, its level, what it needs, when an example counts, its check.

A clause is registered by decorating its check, a function of one `Case`. The check raises
`Violation` where the law is broken, and returns the largest share of an error budget that was used,
or None where the law has no tolerance. Its docstring is the clause's reason or derivation.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import cache

from properties.cases.case import Case
from properties.spec.areas import AREAS, unknown
from properties.spec.profiles import PROFILES
from properties.subjects.subject import EXPECTED, FAMILIES, Subject

Check = Callable[[Case], float | None]


class Level(StrEnum):
    """How binding a clause is, in the words of RFC 2119."""

    MUST = "MUST"
    SHOULD = "SHOULD"
    MAY = "MAY"


class Half(StrEnum):
    """Which half of the verdict a clause belongs to.

    RIGHT: attention on valid input, and what is silently wrong on an input that the constructor
    allows. GUARDED: whether input is refused that has no right answer. EDGE: valid input of a single
    size that is hardly ever run (a context_length of 1); told by itself, part of neither half.
    """

    RIGHT = "right"
    GUARDED = "guarded"
    EDGE = "edge"


@dataclass(frozen=True)
class Condition:
    """What an example must contain before it counts, in words and as a predicate."""

    words: str
    holds: Callable[[Case], bool]


@dataclass(frozen=True)
class Clause:
    """One line of the specification.

    half: which half of the verdict it belongs to; brief: what is wrong where it fails, in a few
    words, for the first line of a report (of clauses that are no part of the first half);
    unless: capabilities with which the question makes no sense;
    examples: how many that count are enough, where one tells as much as many (`ENOUGH` in areas of
    structure); None: all there are;
    since: the first profile that has time for it; those before it ask it by name alone;
    shared: whether it is asked, too, where several heads of queries read one head of keys and values;
    False where the check sets keys or values of each head by itself.
    """

    id: str
    level: Level
    requirement: str
    families: frozenset[str]
    needs: frozenset[str]
    counts: Condition
    after: tuple[str, ...]
    check: Check
    half: Half = Half.RIGHT
    brief: str = ""
    unless: frozenset[str] = frozenset()
    examples: int | None = None
    since: str = "quick"
    shared: bool = True

    def suits(self, case: Case) -> bool:
        """Whether the check is made for as many heads of keys and values as the case has."""
        return self.shared or case.sizes.shared == 1

    @property
    def area(self) -> str:
        """The part of the id before the slash."""
        return self.id.partition("/")[0]

    @property
    def awaited(self) -> tuple[str, ...]:
        """The clauses that must hold before this one is asked: those it names, and whatever else looks
        into queries and keys, by which positions they are turned.
        """
        looks_inside = "projections" in self.needs and self.area != "position"
        return (*self.after, TURNED) if looks_inside and TURNED not in self.after else self.after

    @property
    def reason(self) -> str:
        """The reason or derivation: the check's docstring."""
        return inspect.getdoc(self.check) or ""

    def asked_at(self, profile: str) -> bool:
        """Whether a profile asks it where nothing is named."""
        order = list(PROFILES)
        return order.index(profile) >= order.index(self.since)

    def concerns(self, subject: Subject) -> bool:
        """Whether the spec asks this of the subject: by its family, and by what it offers beyond it."""
        beyond = self.needs - EXPECTED[subject.family] - _TESTING
        asked = beyond <= subject.offers and not self.unless & subject.offers
        return subject.family in self.families and asked

    def missing(self, subject: Subject) -> list[str]:
        """The capabilities that the clause needs and the subject lacks, sorted."""
        needs = self.needs - {"projections"} if subject.family == "plain" else self.needs
        return sorted(needs - subject.offers)


STRUCTURE = frozenset({"argument", "error", "shape", "state", "transform"})
"""The areas whose laws are about what is built, kept, copied and refused, not about numbers."""
ENOUGH = 20
"""Examples that count are enough for such a law: what it looks at is the same at most sizes."""
TURNED = "position/rotary-is-a-known-one"
_TESTING = frozenset({"projections"})  # what the suite needs in order to look, whatever the family
ALWAYS = Condition("any example", lambda case: True)
_registry: dict[str, Clause] = {}


def clause(
    id: str,
    level: Level,
    requirement: str,
    *,
    families: Iterable[str] = FAMILIES,
    needs: Iterable[str] = (),
    counts: Condition = ALWAYS,
    after: tuple[str, ...] = ("shape/output-shape",),
    half: Half = Half.RIGHT,
    brief: str = "",
    unless: Iterable[str] = (),
    examples: int | None = None,
    since: str = "quick",
    shared: bool = True,
) -> Callable[[Check], Check]:
    """Register the decorated check as a clause."""
    if id in _registry:
        raise ValueError(f"clause {id} is registered twice")

    if examples is None and id.partition("/")[0] in STRUCTURE:
        examples = ENOUGH

    def register(check: Check) -> Check:
        _registry[id] = Clause(
            id,
            level,
            requirement,
            frozenset(families),
            frozenset(needs),
            counts,
            after,
            check,
            half,
            brief,
            frozenset(unless),
            examples,
            since,
            shared,
        )
        return check

    return register


@cache
def clauses() -> dict[str, Clause]:
    """Every clause by id, each after those it depends on, otherwise in the order of `AREAS`."""
    package = importlib.import_module("properties.spec.clauses")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"properties.spec.clauses.{module.name}")
    ordered: dict[str, Clause] = {}

    def place(id: str) -> None:
        if id not in ordered:
            for earlier in _registry[id].after:
                place(earlier)
            ordered[id] = _registry[id]

    for id in sorted(_registry, key=area_rank):
        place(id)
    return ordered


def area_rank(id: str) -> int:
    """The place of a clause's area among `AREAS`."""
    area = id.partition("/")[0]
    return AREAS.index(area) if area in AREAS else len(AREAS)


def select(only: Iterable[str] | None) -> list[Clause]:
    """The clauses named by id or by area, with what they depend on; all of them for None."""
    known = clauses()
    if only is None:
        return list(known.values())
    wanted: set[str] = set()
    for name in only:
        matches = [id for id in known if name in (id, known[id].area)]
        if not matches:
            raise unknown(name, known)
        wanted.update(matches)
    pending = list(wanted)
    while pending:
        for earlier in known[pending.pop()].after:
            if earlier not in wanted:
                wanted.add(earlier)
                pending.append(earlier)
    return [known[id] for id in known if id in wanted]
