"""The clauses' part of SPEC.md."""

from __future__ import annotations

import inspect
from itertools import groupby
from pathlib import Path

from properties.spec.clause import Clause, area_rank, clauses
from properties.subjects.subject import FAMILIES
from properties.zoo.faults import faults

NAMED = 6
MARK = "<!-- Below this line: written by `python -m properties.reports.specification`. -->"


def section(clause: Clause) -> str:
    """A clause in SPEC.md: requirement, reason, and when it is asked."""
    families = (
        "all" if clause.families == frozenset(FAMILIES) else ", ".join(sorted(clause.families))
    )
    lines = [
        f"### {clause.id}",
        "",
        f"**{clause.level}** {clause.requirement}",
        "",
        inspect.cleandoc(clause.reason),
        "",
        f"- half of the verdict: {clause.half}",
        f"- families: {families}",
        f"- needs: {', '.join(sorted(clause.needs)) or 'nothing'}",
        *([f"- not asked with: {', '.join(sorted(clause.unless))}"] if clause.unless else []),
        f"- an example counts when it has: {clause.counts.words}",
        *(
            [f"- asked from profile {clause.since} on, or by name"]
            if clause.since != "quick"
            else []
        ),
        f"- after: {', '.join(clause.after) or 'nothing'}",
        f"- faults it catches: {known_faults(clause)}",
    ]
    return "\n".join(lines)


def known_faults(clause: Clause) -> str:
    """The names of faults that break the clause, a few of them where there are many."""
    names = [fault.name for fault in faults().values() if clause.id in fault.breaks]
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def by_area() -> list[Clause]:
    """The clauses in the order of their areas."""
    return sorted(clauses().values(), key=lambda clause: area_rank(clause.id))


def written() -> str:
    """The clauses' part of SPEC.md."""
    parts = []
    for area, members in groupby(by_area(), key=lambda clause: clause.area):
        parts.append(f"## {area}")
        parts.extend(section(clause) for clause in members)
    return "\n\n".join(parts) + "\n"


def rewrite(path: Path) -> None:
    """Bring the clauses' part of SPEC.md up to date; what stands above the mark stays."""
    preface = path.read_text(encoding="utf-8").partition(MARK)[0]
    path.write_text(f"{preface}{MARK}\n\n{written()}", encoding="utf-8")


if __name__ == "__main__":
    rewrite(Path(__file__).parents[2] / "SPEC.md")
