"""Clauses x subject -> Report: draw, check, reduce, and say what could not be asked.

One drawn case serves every clause: the cases are drawn first, then each passes through all clauses
that are still standing, in the order of their dependence.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field, replace
from io import StringIO
from os import PathLike
from pathlib import Path

import numpy as np
import torch

from properties.basics import interrupts
from properties.cases.case import Case
from properties.cases.lending import Lender
from properties.cases.reduction import reduce_case
from properties.cases.strategies import pinned_cases
from properties.runs.choosing import asked, asked_in, require_concern
from properties.runs.domain import Limitation, explore
from properties.runs.drawing import draw
from properties.runs.failures import Failures
from properties.runs.memory import Entry
from properties.runs.observing import Observation, observation
from properties.runs.recall import Recall, remembrances
from properties.runs.remarks import declining, false_alarm, versions
from properties.runs.result import Finding, Report, Status
from properties.runs.settling import block, settle, unsupported_message
from properties.runs.tally import (
    Outcome,
    Tally,
    excuse,
    judge,
    keep_roots,
    stop,
)
from properties.runs.waivers import Waiver, read, require_asked
from properties.spec.clause import Clause
from properties.spec.profiles import Profile, profile_named
from properties.subjects.card import conventions_of
from properties.subjects.subject import Subject

COMPILED = 40  # tries to make a failure smaller of what is compiled for each
Listener = Callable[[str, int, int], None]  # clause or phase, cases done, cases in all
Observer = Callable[[Observation], None]


@dataclass
class Run:
    """One run of the chosen clauses over one subject."""

    subject: Subject
    clauses: list[Clause]
    profile: Profile
    seed: int
    fail_fast: bool = False
    listen: Listener = lambda phase, done, total: None
    lost: Mapping[str, str] = field(default_factory=dict)  # clause -> how it took the process down
    waivers: Sequence[Waiver] = ()
    only: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    examples: list[Case] = field(default_factory=list)  # drawn where there are none yet
    scripts: bool = False
    options: list[str] = field(default_factory=list)  # of the command line, besides those above
    inside: Subject = field(init=False)  # the subject as it can be asked: within its limits
    strict: bool = False  # whether bad input that is not refused, and edges, decide as well
    recall: Recall = field(default_factory=Recall)
    observe: Observer | None = None
    formats: Sequence[str] | None = None
    ahead: Mapping[tuple[str, int], Outcome] = field(default_factory=dict)  # by clause and case
    started: float = field(default_factory=time.time)
    lender: Lender = field(default_factory=Lender)

    def __post_init__(self) -> None:
        """Without a look at its limits a subject is asked everything."""
        self.inside = self.subject

    def report(self) -> Report:
        """Check everything and report it."""
        start = time.perf_counter()
        printed = StringIO()
        with interrupts.watched(), quiet_and_repeatable(), redirect_stdout(printed):
            self.listen("shape/output-shape", 0, 0)
            self.inside, limitations = (self.subject, []) if self.lost else explore(self.subject)
            self.inside = asked_in(self.inside, self.formats)
            tallies = self.tallies()
            self.limit(tallies, limitations)
            self.go(tallies)
            findings = self.findings(tallies)
        notes = [*self.inside.notes, *self.notes, *declining(tallies.values())]
        if printed.getvalue():
            notes.append(
                f"the subject printed {len(printed.getvalue())} characters; not shown here"
            )
        report = Report(
            subject=self.subject.name,
            family=self.subject.family,
            profile=self.profile.name,
            seed=self.seed,
            results=[tally.result() for tally in tallies.values()],
            versions=versions(),
            dtypes=list(self.inside.dtypes),
            matched=dict(self.subject.matched),
            lacking=dict(self.subject.lacking),
            unasked=dict(self.subject.unasked),
            notes=notes,
            seconds=round(time.perf_counter() - start, 3),
            false_alarm=false_alarm(tallies),
            source=dict(self.subject.source),
            only=self.only,
            fail_fast=self.fail_fast,
            waivers=[w.data() for t in tallies.values() for w in (*t.waivers, *t.outlived)],
            options=[*self.subject.options, *self.options],
            strict=self.strict,
            findings=findings,
            takes=dict(self.subject.takes),
            conventions=conventions_of(self.subject),
            remembered=self.recall.told,
        )
        report.notes.extend(remembrances(report))
        return report

    def findings(self, tallies: Mapping[str, Tally]) -> list[Finding]:
        """What failed, put together by its causes: with names, pictures and, if wanted, scripts."""
        failures = Failures(tallies, self.subject, self.listen, self.lost, self.notes)
        failures.explain()
        found = failures.findings()
        if self.scripts:
            failures.write_scripts()
        return found

    def tallies(self) -> dict[str, Tally]:
        """One for each clause of the subject's family, those that cannot be asked already decided."""
        tallies = {}
        for clause in self.clauses:
            if not clause.concerns(self.inside):
                continue
            tally = tallies[clause.id] = Tally(clause)
            if missing := clause.missing(self.inside):
                tally.status = Status.UNSUPPORTED
                tally.message = unsupported_message(self.inside, missing)
            if clause.id in self.lost:
                tally.status, tally.message = Status.ERROR, self.lost[clause.id]
        return tallies

    def limit(self, tallies: dict[str, Tally], limitations: Iterable[Limitation]) -> None:
        """What the subject cannot take fails a clause, and hides no other one."""
        for limitation in limitations:
            tally = tallies.get(limitation.clause)
            if tally is not None and not tally.limitations:
                outcome = judge(tally.clause, limitation.witness)
                if outcome.status is Status.FAIL:
                    tally.limitations.append(limitation.words)
                    self.fail(tally, outcome, limitation.witness, tallies)
                    tally.examples = 1
            elif tally is not None:
                tally.limitations.append(limitation.words)

    def go(self, tallies: dict[str, Tally]) -> None:
        """Pass every case through the clauses still standing."""
        self.replay(tallies)
        self.recall.ask(self.inside, tallies, self.listen)
        if self.fail_fast:
            self.recall.decide(tallies)
        if self.fail_fast and any(map(self.decided, tallies.values())):
            stop(tallies, next(filter(self.decided, tallies.values())))
            return
        self.draw()
        pinned = len(pinned_cases(self.inside)) if self.observe else 0
        for number, case in enumerate(self.examples):
            self.lender.reused = False
            how = "pinned" if number < pinned else f"drawn by Hypothesis from seed {self.seed}"
            for tally in tallies.values():
                if excuse(tally, case, tallies) or not tally.wants_more:
                    continue
                self.listen(tally.clause.id, number, len(self.examples))
                block(tally, tallies)
                if tally.standing:
                    ahead = self.ahead.get((tally.clause.id, number))
                    self.check(tally, case, tallies, how, ahead)
                if self.fail_fast and self.decided(tally):
                    stop(tallies, tally)
                    return
            if not any(tally.standing for tally in tallies.values()):
                break
        keep_roots(tallies)
        self.recall.decide(tallies)
        for tally in tallies.values():
            if tally.standing:
                settle(tally, tallies, self.profile, limited=bool(self.inside.limits))

    def draw(self) -> None:
        """The examples, where there are none yet: the pinned ones, and those of the seed."""
        self.listen("drawing", 0, 0)
        if not self.examples:
            self.examples += pinned_cases(self.inside)
            self.examples += draw(self.inside, self.profile, self.seed)

    def decided(self, tally: Tally) -> bool:
        """Whether the clause has failed and that decides about the exit code."""
        binding = tally.clause.level == "MUST" and (self.strict or tally.clause.half == "right")
        return binding and tally.status is Status.FAIL

    def replay(self, tallies: Mapping[str, Tally]) -> None:
        """Ask each waived clause about its counterexample first: a waiver lasts while that fails."""
        for waiver in self.waivers:
            tally = tallies.get(waiver.clause)
            if not waiver.concerns(self.subject):
                self.notes.append(f"{waiver.place}, of {waiver.clause}, is for another subject")
                continue
            require_asked(waiver, self.subject, tally.status if tally else None)
            if tally is None:
                self.notes.append(f"{waiver.place}: {waiver.clause} was not asked")
            elif tally.standing:
                self.listen(tally.clause.id, 0, 0)
                tally.recall(waiver, waiver.case(self.subject))
                if waiver in tally.outlived:
                    self.notes.append(f"remove this waiver: it holds now; {waiver.place}")

    def check(
        self,
        tally: Tally,
        case: Case,
        tallies: dict[str, Tally],
        how: str,
        ahead: Outcome | None = None,
    ) -> None:
        """One clause on one case; a failure is reduced at once. how: the case came about; ahead: the
        outcome, where another process has it.
        """
        start = time.perf_counter()
        outcome = ahead
        if outcome is None:
            outcome, case = self.ask(tally.clause, case)
        if self.observe is not None:
            seconds, started = time.perf_counter() - start, self.started
            seen = observation(
                tally.clause, case, outcome, seconds=seconds, started=started, how=how
            )
            self.observe(seen)
        tally.examples += not outcome.outside
        tally.outside += outcome.outside
        tally.declined = tally.declined or (outcome.message if outcome.outside else "")
        if outcome.status is Status.PASS:
            tally.counted += outcome.counted
            if outcome.margin is not None:
                tally.margin = max(tally.margin or 0.0, outcome.margin)
        elif outcome.status is not Status.FAIL:
            tally.status, tally.message, tally.case = outcome.status, outcome.message, case
        elif not tally.covers(case):
            self.fail(tally, outcome, case, tallies)
        tally.seconds += time.perf_counter() - start

    def ask(self, clause: Clause, case: Case) -> tuple[Outcome, Case]:
        """One clause on one case, and that case; what does not hold is asked anew, on new modules."""
        with self.lender.lending():
            outcome = judge(clause, case)
        if self.lender.reused and outcome.status is not Status.PASS:
            case = replace(case)
            outcome = judge(clause, case)
        return outcome, case

    def fail(self, tally: Tally, outcome: Outcome, case: Case, tallies: dict[str, Tally]) -> None:
        """Note a failure, and make its example small."""
        tally.status, tally.message, tally.case = outcome.status, outcome.message, case
        tally.probe, tally.raised = outcome.probe, outcome.raised
        self.reduce(tally, case, tallies)

    def reduce(self, tally: Tally, case: Case, tallies: dict[str, Tally]) -> None:
        """Make the counterexample small; what the clause depends on keeps holding on the way."""
        earlier = [tallies[id].clause for id in tally.clause.awaited if id in tallies]
        earlier = [clause for clause in earlier if tallies[clause.id].standing]
        if tally.limitations:
            earlier = []  # inside its limits the subject is asked; this is outside

        def fails(candidate: Case) -> bool:
            self.listen(tally.clause.id, 0, 0)
            return (
                not tally.covers(candidate)
                and judge(tally.clause, candidate).status is Status.FAIL
                and all(judge(other, candidate).status is Status.PASS for other in earlier)
            )

        tally.case = reduce_case(case, fails, self.evaluations(tally.clause))
        again = judge(tally.clause, tally.case)
        if again.status is Status.FAIL:  # else it fails now and then, and the first message stands
            tally.message, tally.probe = again.message, again.probe

    def evaluations(self, clause: Clause) -> int:
        """How often a clause may be asked while its failure is reduced; one that is dear less."""
        if self.subject.compiled:  # each try is another shape
            return COMPILED
        if clause.examples is None:
            return self.profile.reduction
        return min(self.profile.reduction, 10 * clause.examples)


@contextmanager
def quiet_and_repeatable() -> Iterator[None]:
    """One thread, the subject's warnings silenced, and the caller's random state untouched."""
    threads = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        torch.set_num_threads(1)  # tiny products: more threads are slower and less repeatable
        try:
            yield
        finally:
            torch.set_num_threads(threads)


def run(
    subject: Subject,
    *,
    profile: str = "ci",
    seed: int = 0,
    only: Iterable[str] | None = None,
    fail_fast: bool = False,
    listen: Listener | None = None,
    lost: Mapping[str, str] | None = None,
    waivers: str | PathLike[str] | None = None,
    examples: list[Case] | None = None,
    scripts: bool = False,
    strict: bool = False,
    remembered: Sequence[Entry] = (),
    observe: Observer | None = None,
    formats: Sequence[str] | None = None,
    ahead: Mapping[tuple[str, int], Outcome] | None = None,
) -> Report:
    """Check a subject against the clauses named (all by default), but for what a file waives.

    examples: what an earlier run has drawn, or an empty list to keep it for a later one; scripts:
    whether each failure gets a script that reproduces it; strict: whether bad input that is not
    refused, and edges, decide as well; remembered: failing cases of earlier runs, asked first;
    observe: is handed what became of each clause on each drawn case; formats: those that it is asked in;
    ahead: what other processes have computed of this run, see `properties.runs.ahead`.

    Raises QuestionError for clauses that do not exist or none of which concerns the subject, and where it
    runs in none of the formats.
    """
    only = list(only or ())
    require_concern(subject, only)
    chosen = Run(subject, asked(profile, only), profile_named(profile), seed, fail_fast, only=only)
    if examples is not None:
        chosen.examples = examples
    if listen is not None:
        chosen.listen = listen
    chosen.lost = lost or {}
    chosen.scripts, chosen.strict = scripts, strict
    chosen.recall, chosen.observe = Recall(remembered), observe
    chosen.formats, chosen.ahead = formats, ahead or {}
    chosen.options += ["--strict"] * strict
    if waivers is not None:
        chosen.waivers = read(Path(waivers))
        chosen.options += ["--waivers", str(waivers)]
        chosen.notes.append(f"waivers are read from {waivers}, which holds {len(chosen.waivers)}")
    return chosen.report()
