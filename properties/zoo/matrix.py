"""Clauses x faults: which clause sees which wrong implementation, and how soon.

Each fault is met as a user would meet it: a run that stops at its first counterexample and makes it
small. Then the clauses that the fault names are asked alone, with nothing before them that could
block them. For a full matrix the whole report is made, and what waits in it for another clause is
asked alone too, on the pinned examples and a tenth of the drawn ones. Only seconds differ from one
run to the next.
"""

from __future__ import annotations

import difflib
import hashlib
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import properties
from properties.basics.errors import QuestionError
from properties.cases.case import Case
from properties.recognition.targets import find
from properties.runs.campaign import Campaign, Listener
from properties.runs.engines import Engine
from properties.runs.journal import Journal, Line, Piece
from properties.runs.result import Finding, Report, Status
from properties.runs.runner import Run, run
from properties.runs.tally import Tally
from properties.spec.clause import Clause, Half, Level, area_rank, clauses
from properties.spec.profiles import Profile, profile_named
from properties.subjects.subject import Subject
from properties.zoo.faults import Fault, faults

SHARE = 10  # a clause that a fault does not name gets one drawn example in so many


class Size(NamedTuple):
    """Of a counterexample."""

    B: int
    T: int
    H: int
    D: int

    @property
    def volume(self) -> int:
        """What makes one counterexample larger than another."""
        return self.B * self.T * self.H * self.D


@dataclass(frozen=True)
class First:
    """The first counterexample: its clause, examples up to it, seconds until it was made small, its size
    then.

    The seconds are the processor's: how busy a machine is tells nothing about a fault.
    """

    clause: str
    level: str
    examples: int
    seconds: float
    size: Size


@dataclass(frozen=True)
class Row:
    """What became of one fault.

    area: the file that holds it, in words; names: the clauses that it is said to break; first: None if it
    survived the run; alone: the clauses that fail asked by themselves, with the examples each took;
    findings: what a report tells of it, each by its name or its first clause, () where not asked.
    """

    fault: str
    area: str
    family: str
    symptom: str
    source: str
    names: tuple[str, ...]
    first: First | None
    alone: Mapping[str, int]
    findings: tuple[str, ...] = ()

    @property
    def killers(self) -> list[str]:
        """Every clause that was seen to fail, that of the first counterexample first."""
        first = [self.first.clause] if self.first else []
        return list(dict.fromkeys([*first, *self.alone]))

    @property
    def missed(self) -> list[str]:
        """Clauses that the fault is said to break and that hold on it."""
        return [id for id in self.names if id not in self.killers and id in binding()]


@dataclass(frozen=True)
class Matrix:
    """Of the faults chosen. clauses: those asked; owed: those of which each must kill a fault."""

    profile: str
    seed: int
    full: bool
    faults: list[str]
    clauses: list[str]
    owed: list[str]
    rows: list[Row] = field(default_factory=list)

    @property
    def survivors(self) -> list[str]:
        """Faults on which nothing fails in a run."""
        return [row.fault for row in self.rows if not row.first]

    @property
    def kills(self) -> dict[str, list[str]]:
        """The faults that each clause kills."""
        return {id: [r.fault for r in self.rows if id in r.killers] for id in self.clauses}

    @property
    def idle(self) -> list[str]:
        """Clauses that kill nothing and should."""
        kills = self.kills
        return [id for id in self.owed if not kills[id]]

    @property
    def single(self) -> dict[str, list[str]]:
        """By clause, the faults that die by it alone; only a full matrix can tell."""
        found: dict[str, list[str]] = {id: [] for id in self.clauses}
        for row in self.rows if self.full else []:
            if len(row.killers) == 1:
                found[row.killers[0]].append(row.fault)
        return found

    @property
    def split(self) -> dict[str, tuple[str, ...]]:
        """The faults that a report tells as more than one finding, with these."""
        return {row.fault: row.findings for row in self.rows if len(row.findings) > 1}

    @property
    def holds(self) -> bool:
        """Whether every fault is killed, every clause kills one, and one fault is one finding, or it is
        said why not.
        """
        excused = all(faults()[name].apart for name in self.split)
        return not self.survivors and not self.idle and excused


def prepare(names: Collection[str], profile: str, seed: int, full: bool) -> Matrix:
    """A matrix without rows, of the faults named or of all; QuestionError for what is unknown."""
    profile_named(profile)
    broken = {id for name in names for id in fault_named(name).breaks}
    asked = sorted(binding(), key=area_rank)
    return Matrix(
        profile=profile,
        seed=seed,
        full=full,
        faults=[name for name in faults() if not names or name in names],
        clauses=asked,
        owed=[id for id in asked if not names or id in broken],
    )


def fill(
    matrix: Matrix,
    engine: Engine,
    journal: Journal,
    listen: Listener,
    arrived: Callable[[Row], None],
) -> None:
    """Put a row for each fault into the matrix, in its order; `arrived` is told of each when it is there.

    A row that is in the journal counts as long as no source has changed. QuestionError where a fault killed
    every process that asked it, or raised.
    """
    asked = {"profile": matrix.profile, "seed": matrix.seed, "full": matrix.full}
    asked["sources"] = digest()
    pieces = [{"fault": name, **asked} for name in matrix.faults]

    def tell(line: Line) -> None:
        if "row" in line:
            arrived(read(line["row"]))

    lines = Campaign(ask, engine, journal, listen, tell).carry_out(pieces)
    lost = [f"{line['piece']['fault']} ({line['lost']})" for line in lines if "lost" in line]
    if lost:
        raise QuestionError(f"no answer for {', '.join(lost)}; ask it alone, with --jobs 1")
    matrix.rows[:] = [read(line["row"]) for line in lines]


def digest() -> str:
    """Of all the sources of this package."""
    found = hashlib.sha256()
    for file in sorted(Path(properties.__file__).parent.rglob("*.py")):
        found.update(file.read_bytes())
    return found.hexdigest()[:16]


def ask(piece: Piece) -> Line:
    """The row of one fault as plain data."""
    options = {name: piece[name] for name in ("profile", "seed", "full")}
    return {"row": asdict(row(piece["fault"], **options))}


def read(data: Mapping[str, Any]) -> Row:
    """A row from plain data."""
    first = data["first"] and First(**{**data["first"], "size": Size(*data["first"]["size"])})
    listed = {name: tuple(data[name]) for name in ("names", "findings")}
    return Row(**{**data, "first": first, **listed})


def row(name: str, *, profile: str, seed: int, full: bool) -> Row:
    """What becomes of one fault."""
    fault = fault_named(name)
    (subject,) = find(fault.module, fault.family)
    whole = profile_named(profile)
    named = [clause for clause in binding().values() if clause.id in fault.breaks]
    report = run(subject, profile=profile, seed=seed) if full else None
    alone, decided = decisions(report)
    alone |= asked_alone(subject, [c for c in named if c.id not in decided], whole, seed)
    if full:
        decided |= {*fault.breaks}
        waiting = [c for c in binding().values() if c.id not in decided and c.asked_at(whole.name)]
        alone |= asked_alone(subject, waiting, replace(whole, drawn=whole.drawn // SHARE), seed)
    return Row(
        fault=fault.name,
        area=kind(fault),
        family=fault.family,
        symptom=fault.symptom,
        source=fault.source,
        names=fault.breaks,
        first=first(subject, fault, whole, seed),
        alone={id: alone[id] for id in sorted(alone, key=area_rank)},
        findings=causes(report, fault) if report else (),
    )


def kind(fault: Fault) -> str:
    """The file that holds a fault, in words."""
    file = fault.module.__module__.rpartition(".")[2]
    return file.removesuffix("_faults").replace("_", " ")


def decisions(report: Report | None) -> tuple[dict[str, int], set[str]]:
    """The binding clauses that fail in a report, with the examples each took; all that are decided."""
    results = [r for r in report.results if r.clause in binding()] if report else []
    failed = {r.clause: r.examples for r in results if r.status is Status.FAIL}
    return failed, {*failed, *(r.clause for r in results if r.status is Status.PASS)}


def causes(report: Report, fault: Fault) -> tuple[str, ...]:
    """What a report tells of a fault: the findings of the kind among which is a clause that it breaks;
    where there is none, what decides against the subject.

    Of bad inputs that are not refused, edges and advice only what it breaks is its own: each of them is a
    finding by itself, and what the fault is made from may have others.
    """

    def own(finding: Finding) -> bool:
        return not {*finding.clauses, *finding.likely}.isdisjoint(fault.breaks)

    decisive = [f for f in report.findings if f.kind in ("fault", "domain")]
    lesser = [f for f in report.findings if f not in decisive]
    shown = decisive if any(map(own, decisive)) else [f for f in lesser if own(f)]
    return tuple(f.name or f.clauses[0] for f in shown or decisive)


def first(subject: Subject, fault: Fault, profile: Profile, seed: int) -> First | None:
    """The first counterexample of a run over every clause on valid input, and those that the fault names,
    any of which stops it: bad input may be let through by what the fault is made from.
    """
    asked = [
        replace(clause, level=Level.MUST) if clause.id in fault.breaks else clause
        for clause in binding().values()
        if clause.id in fault.breaks
        or (clause.half is Half.RIGHT and clause.asked_at(profile.name))
    ]
    hunt = Hunt(subject, asked, profile, seed, fail_fast=True, strict=True)
    return hunt.first(hunt.report())


class Untold(Run):
    """A run whose failures need neither names nor pictures: a row has no place for them."""

    def findings(self, tallies: Mapping[str, Tally]) -> list[Finding]:
        """None."""
        return []


@dataclass
class Hunt(Untold):
    """A run that notes when each failure had been made small."""

    began: float = field(default_factory=time.process_time)
    took: dict[str, float] = field(default_factory=dict)

    def reduce(self, tally: Tally, case: Case, tallies: dict[str, Tally]) -> None:
        """See `Run`."""
        super().reduce(tally, case, tallies)
        self.took[tally.clause.id] = time.process_time() - self.began

    def first(self, report: Report) -> First | None:
        """The failure that ended the run, or else the first that did not."""
        failed = [r for r in report.results if r.status is Status.FAIL]
        failed.sort(key=lambda r: (r.level != Level.MUST, self.took[r.clause]))
        for result in failed[:1]:
            sizes = (result.counterexample or {})["sizes"]
            return First(
                clause=result.clause,
                level=str(clauses()[result.clause].level),
                examples=result.examples,
                seconds=self.took[result.clause],
                size=Size(sizes["batch"], sizes["tokens"], sizes["heads"], sizes["head_dim"]),
            )
        return None


class Alone(Untold):
    """A run in which nothing is made small: only what fails is wanted."""

    def reduce(self, tally: Tally, case: Case, tallies: dict[str, Tally]) -> None:
        """Forget the case."""
        tally.case = None


def asked_alone(
    subject: Subject, chosen: Iterable[Clause], profile: Profile, seed: int
) -> dict[str, int]:
    """The clauses that fail, none blocked by another, with the examples that each took."""
    free = [replace(clause, after=()) for clause in chosen]
    report = Alone(subject, free, profile, seed).report()
    return {r.clause: r.examples for r in report.results if r.status is Status.FAIL}


def binding() -> dict[str, Clause]:
    """The clauses that can kill. What MAY hold is broken by right implementations too."""
    return {id: clause for id, clause in clauses().items() if clause.level is not Level.MAY}


def fault_named(name: str) -> Fault:
    """The fault, or a message that names those with a like name."""
    if name not in faults():
        near = difflib.get_close_matches(name, faults(), n=3, cutoff=0.3)
        raise QuestionError(
            f"no fault {name!r}; did you mean {' or '.join(near) or 'another one'}? "
            "Without a name, all are asked."
        )
    return faults()[name]
