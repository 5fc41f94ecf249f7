"""What is wrong, bug by bug: failures that one cause explains are one finding.

A clause that failed says which law is broken; one bug breaks several. What a subject cannot take at all
is a finding of its own. Of the rest, failures that one wrong formula explains are one, with its name:
a stand-in that computes the formula fails the same clauses on the same cases
(`names/standin.py`). Failures that the same line of the subject raised are one. What is left goes
with the first of these, as likely the same, unless the stand-in has shown that it is not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from properties.cases.case import Case
from properties.spec.clause import Clause, Half, Level
from properties.subjects.instance import place

Explains = Callable[[str, str, Case], bool | None]
LOOK = "; look for "


class Failure(Protocol):
    """A clause that failed, as the runner keeps it."""

    clause: Clause
    case: Case | None
    behaves_like: list[str]
    raised: str  # the line of the subject that raised; "" if it raised nothing


@dataclass(frozen=True)
class Group:
    """Failures with one cause. clauses: those that are explained by it, the most telling first; likely:
    those that may be; names: wrong formulas that nothing tells apart.
    """

    kind: str
    clauses: list[str]
    likely: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    level: str = "MUST"

    @property
    def name(self) -> str:
        """What the subject behaves like, or cannot take."""
        return " or ".join(name.partition(LOOK)[0] for name in self.names)

    @property
    def look(self) -> str:
        """Where to look for it."""
        return " or ".join(dict.fromkeys(name.partition(LOOK)[2] for name in self.names))


def groups(failures: Sequence[Failure], explains: Explains) -> list[Group]:
    """The failures by cause: first what decides, last what is advice. What MAY hold is left out.

    explains: as `diagnosis.standin.explains`.
    """
    told = [f for f in failures if f.clause.level != Level.MAY]
    right = [f for f in told if f.clause.half == Half.RIGHT]
    musts, advice = (
        [f for f in right if (f.clause.level == Level.MUST) is binding] for binding in (True, False)
    )
    found = caused(musts, explains, "fault", "MUST")
    if found:
        advice = absorbed(found, advice, explains)
    found += caused(advice, explains, "advice", "SHOULD")
    found += beside([f for f in told if f.clause.half == Half.GUARDED], "unguarded")
    found += beside([f for f in told if f.clause.half == Half.EDGE], "edge")
    return found


def beside(failures: Iterable[Failure], kind: str) -> list[Group]:
    """Bad input that is taken, each law by itself; edges, those of one name together."""
    found: dict[tuple[str, ...], Group] = {}
    for failure in failures:
        level, id, names = str(failure.clause.level), failure.clause.id, list(failure.behaves_like)
        new = Group(kind if level == "MUST" else "advice", [], [], names, level)
        same = (level, *names) if names and kind == "edge" else (level, id)
        found.setdefault(same, new).clauses.append(id)
    return list(found.values())


def caused(failures: Sequence[Failure], explains: Explains, kind: str, level: str) -> list[Group]:
    """One group for each cause that can be told from the others."""
    found: list[Group] = []
    rest = list(failures)
    for names in by_frequency(tuple(f.behaves_like) for f in rest):
        parts = sorted_by(rest, names, explains)
        if parts[True]:
            likely = [f.clause.id for f in parts[None]]
            found.append(
                Group(kind, [f.clause.id for f in parts[True]], likely, list(names), level)
            )
            rest = parts[False]
    for line in dict.fromkeys(f.raised for f in rest if f.raised):
        same = [f.clause.id for f in rest if f.raised == line]
        found.append(Group(kind, same, level=level))
    unexplained = [f.clause.id for f in rest if not f.raised]
    if unexplained and found and not found[0].names:
        found[0].likely.extend(unexplained)
    elif unexplained:
        found.append(Group(kind, unexplained[:1], unexplained[1:], level=level))
    return found


def by_frequency(names: Iterable[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """The names that failures were given, those of most failures first."""
    given = [each for each in names if each]
    return sorted(dict.fromkeys(given), key=lambda each: -given.count(each))


def sorted_by(
    failures: Iterable[Failure], names: Iterable[str], explains: Explains
) -> dict[bool | None, list[Failure]]:
    """The failures that the names explain (True), do not (False), and of which that is unknown.

    A failure whose own names these are, and on which a stand-in says nothing, is taken to be explained.
    """
    parts: dict[bool | None, list[Failure]] = {True: [], False: [], None: []}
    for failure in failures:
        answers = [answer(failure, name, explains) for name in names]
        unknown = None if None in answers else False
        parts[True if True in answers else unknown].append(failure)
    if any(map(about_chance, parts[True])):
        # What a stand-in does not break in one draw it may break in another.
        parts[None] += filter(about_chance, parts[False])
        parts[False] = [failure for failure in parts[False] if not about_chance(failure)]
    return parts


def about_chance(failure: Failure) -> bool:
    """Whether what is drawn may decide about the law."""
    return "dropout" in failure.clause.needs


def answer(failure: Failure, name: str, explains: Explains) -> bool | None:
    """Whether a name explains a failure."""
    if failure.case is None:
        return None
    said = explains(name, failure.clause.id, failure.case)
    return True if said is None and name in failure.behaves_like else said


def absorbed(
    found: Iterable[Group], advice: Sequence[Failure], explains: Explains
) -> list[Failure]:
    """The advice that no cause found so far explains; what one does is added to it."""
    for group in found:
        if group.names:
            parts = sorted_by(advice, group.names, explains)
            group.clauses.extend(f.clause.id for f in parts[True])
            advice = [*parts[False], *parts[None]]
    return list(advice)


def origin(error: BaseException) -> str:
    """The line of the subject that raised the first cause of an error, or its type where that is in no
    line of the subject; "" if there is none.

    The line alone: vmap and export say each in its own words that it looks at a value.
    """
    cause = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    return (place(cause) or type(cause).__name__) if cause is not error else ""
