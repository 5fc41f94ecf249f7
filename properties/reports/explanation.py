"""How a clause is usually broken."""

from __future__ import annotations

from collections.abc import Iterator

from properties.recognition.targets import find
from properties.reports import characters
from properties.runs.result import Result
from properties.runs.runner import Run
from properties.spec.clause import Clause, clauses
from properties.spec.profiles import profile_named
from properties.zoo.faults import Fault, faults

WIDTH = 80


def usually_broken(name: str) -> Iterator[str]:
    """The best known fault of a clause: what a user sees, what the clause says of it, and a picture.

    The fault is run as the lines are read.
    """
    clause = clauses()[name]
    fault = best_known(clause)
    yield ""
    yield f"Usually broken by {fault.name}: {fault.symptom}"
    yield f"(source: {fault.source})"
    result = verdict(clause, fault)
    expected, _, got = result.message.partition("; got ")
    yield ""
    yield f"  {expected}"
    if got:
        yield f"  got {got}"
    if result.evidence:
        yield ""
        yield from (f"  {line}" for line in characters.picture(result.evidence, WIDTH - 2))


def best_known(clause: Clause) -> Fault:
    """Of the faults that break the clause one that was found in public, if there is one."""
    known = [fault for fault in faults().values() if clause.id in fault.breaks]
    return min(known, key=lambda f: (f.source == "constructed", f.breaks.index(clause.id)))


def verdict(clause: Clause, fault: Fault) -> Result:
    """The clause alone on the fault, reduced to the smallest case."""
    subject = find(fault.module, fault.family)[0]
    return Run(subject, [clause], profile_named("quick"), seed=0).report().results[0]
