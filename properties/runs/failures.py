"""What is told of the clauses that failed: names, pictures, findings and scripts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from properties.findings.evidence import evidence
from properties.findings.grouping import Group, groups
from properties.findings.names import behaves_like
from properties.findings.names.standin import explains
from properties.runs.result import Finding, describe_case
from properties.runs.tally import Tally, failed
from properties.spec.clause import Half, Level
from properties.subjects.subject import Subject


@dataclass
class Failures:
    """The failures among the tallies of a run.

    listen: hears the phase before it begins; lost: the phases that have taken a process down; notes:
    where what cannot be told is noted.
    """

    tallies: Mapping[str, Tally]
    subject: Subject
    listen: Callable[[str, int, int], None]
    lost: Mapping[str, str]
    notes: list[str]

    def explain(self) -> None:
        """Give each failure its name and its pictures, unless the subject has ended a process."""
        for tally in () if self.lost else failed(self.tallies):
            if tally.case is not None:
                self.listen(f"explain {tally.clause.id}", 0, 0)
                with self.noting(f"{tally.clause.id} has no name and no picture"):
                    if tally.clause.level != Level.MAY:  # what nobody has to do is in no finding
                        tally.behaves_like = behaves_like(tally.clause.id, tally.case)
                    tally.evidence = evidence(tally.clause.id, tally.case)

    def findings(self) -> list[Finding]:
        """The failures by cause. A name stands beside the clauses that it explains, and no others."""
        return [*self.outside(), *self.faults()]

    def outside(self) -> Iterator[Finding]:
        """What the subject cannot take, each limit by itself."""
        for tally in failed(self.tallies):
            kind = "edge" if tally.clause.half == Half.EDGE else "domain"
            for words in tally.limitations:
                yield self.finding(Group(kind, [tally.clause.id], [], [words]))
                tally.behaves_like = []

    def faults(self) -> list[Finding]:
        """What is wrong with what it takes."""
        inside = [tally for tally in failed(self.tallies) if not tally.limitations]
        found = None
        with self.noting("failures were not put together by their names"):
            found = groups(inside, explains)
        found = groups(inside, lambda *failure: None) if found is None else found
        names = {clause: group.names for group in found for clause in group.clauses}
        for tally in inside:
            beside = names.get(tally.clause.id, [])
            tally.behaves_like = [name for name in tally.behaves_like if name in beside]
        return [self.finding(group) for group in found]

    def finding(self, group: Group) -> Finding:
        """A group as plain data, with the message and the example of its most telling clause."""
        lead = self.tallies[group.clauses[0]]
        return Finding(
            kind=group.kind,
            level=group.level,
            clauses=group.clauses,
            likely=group.likely,
            name=group.name,
            look=group.look,
            message=lead.message,
            counterexample=describe_case(lead.case) if lead.case else None,
        )

    def write_scripts(self) -> None:
        """Give each failure a script that reproduces it, unless making one has ended a process."""
        from properties.findings.scripts import reproduction

        foreign = self.subject.has("other arrays") and not self.subject.has("program")
        if failed(self.tallies) and foreign:
            self.notes.append("no script is written for what takes another library's arrays")
            return
        for tally in failed(self.tallies):
            phase = f"script {tally.clause.id}"
            if tally.case is not None and phase not in self.lost:
                alive = partial(self.listen, phase, 0, 0)
                with self.noting(f"{tally.clause.id} has no script"):
                    tally.script = reproduction(tally.clause, tally.case, tally.message, alive)

    @contextmanager
    def noting(self, what: str) -> Iterator[None]:
        """A failure stands, whatever happens when it is told: that becomes a note."""
        try:
            yield
        except Exception as error:
            self.notes.append(f"{what}: {type(error).__name__}: {error}")
