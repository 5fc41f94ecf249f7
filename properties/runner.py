"""Clauses x subject -> Report: draw, check, reduce, and say what could not be asked.

One drawn case serves every clause: the cases are drawn first, then each passes through all clauses
that are still standing, in the order of their dependence.
"""

from __future__ import annotations

import platform
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from importlib.metadata import version
from io import StringIO
from typing import Any

import hypothesis
import numpy as np
import torch
from hypothesis import HealthCheck, Phase, given, settings

from properties.assertions import Violation
from properties.case import Case
from properties.diagnosis import behaves_like
from properties.errors import DisputeError, QuestionError, SubjectError
from properties.evidence import evidence
from properties.profiles import Profile, profile_named
from properties.reduction import reduce_case
from properties.result import Report, Result, Status, describe_case
from properties.spec import Clause, select
from properties.strategies import cases, pinned_cases
from properties.subject import Subject

Listener = Callable[[str, int, int], None]  # clause or phase, cases done, cases in all


@dataclass
class Tally:
    """What is known so far about one clause."""

    clause: Clause
    examples: int = 0
    counted: int = 0
    seconds: float = 0.0
    margin: float | None = None
    status: Status | None = None
    message: str = ""
    case: Case | None = None
    behaves_like: list[str] = field(default_factory=list)
    evidence: dict[str, Any] | None = None

    @property
    def standing(self) -> bool:
        """Whether more examples may still change the verdict."""
        return self.status is None

    @property
    def wants_more(self) -> bool:
        """Whether another example is worth its time."""
        enough = self.clause.examples
        return self.standing and (enough is None or self.counted < enough)

    @property
    def broken(self) -> bool:
        """Whether what depends on the clause cannot be asked."""
        return self.status in (Status.FAIL, Status.BLOCKED, Status.ERROR)

    def result(self) -> Result:
        """The verdict as plain data."""
        return Result(
            clause=self.clause.id,
            level=str(self.clause.level),
            status=self.status or Status.PASS,
            examples=self.examples,
            counted=self.counted,
            seconds=round(self.seconds, 4),
            margin=self.margin,
            message=self.message,
            counterexample=describe_case(self.case) if self.case else None,
            behaves_like=self.behaves_like,
            evidence=self.evidence,
        )


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

    def report(self) -> Report:
        """Check everything and report it."""
        start = time.perf_counter()
        printed = StringIO()
        with quiet_and_repeatable(), redirect_stdout(printed):
            tallies = self.tallies()
            self.go(tallies)
            explain(tallies)
        notes = list(self.subject.notes)
        if printed.getvalue():
            notes.append(
                f"the subject printed {len(printed.getvalue())} characters; not shown here"
            )
        return Report(
            subject=self.subject.name,
            family=self.subject.family,
            profile=self.profile.name,
            seed=self.seed,
            results=[tally.result() for tally in tallies.values()],
            versions=versions(),
            dtypes=list(self.subject.dtypes),
            matched=dict(self.subject.matched),
            lacking=dict(self.subject.lacking),
            notes=notes,
            seconds=round(time.perf_counter() - start, 3),
        )

    def tallies(self) -> dict[str, Tally]:
        """One for each clause of the subject's family, those that cannot be asked already decided."""
        tallies = {}
        for clause in self.clauses:
            if not clause.concerns(self.subject):
                continue
            tally = tallies[clause.id] = Tally(clause)
            if missing := clause.missing(self.subject):
                tally.status = Status.UNSUPPORTED
                tally.message = unsupported_message(self.subject, missing)
            if clause.id in self.lost:
                tally.status, tally.message = Status.ERROR, self.lost[clause.id]
        return tallies

    def go(self, tallies: dict[str, Tally]) -> None:
        """Pass every case through the clauses still standing."""
        self.listen("drawing", 0, 0)
        examples = pinned_cases(self.subject)
        examples += draw(self.subject, self.profile, self.seed)
        for number, case in enumerate(examples):
            for tally in tallies.values():
                if not tally.wants_more:
                    continue
                self.listen(tally.clause.id, number, len(examples))
                self.block(tally, tallies)
                if tally.standing:
                    self.check(tally, case, tallies)
                if self.fail_fast and tally.status is Status.FAIL and tally.clause.level == "MUST":
                    stop(tallies, tally)
                    return
            if not any(tally.standing for tally in tallies.values()):
                break
        keep_roots(tallies)
        for tally in tallies.values():
            wanted = min(self.profile.counted, tally.clause.examples or self.profile.counted)
            if tally.standing and tally.counted < wanted:
                tally.status = Status.VACUOUS
                tally.message = (
                    f"{tally.counted} of {tally.examples} examples had "
                    f"{tally.clause.counts.words}; at least {wanted} must"
                )

    def block(self, tally: Tally, tallies: dict[str, Tally]) -> None:
        """A clause is not asked once one that it depends on is broken."""
        for earlier in tally.clause.after:
            if earlier in tallies and tallies[earlier].broken:
                tally.status, tally.message = (
                    Status.BLOCKED,
                    f"needs {earlier}, which does not hold",
                )

    def check(self, tally: Tally, case: Case, tallies: dict[str, Tally]) -> None:
        """One clause on one case; a failure is reduced at once."""
        start = time.perf_counter()
        outcome = judge(tally.clause, case)
        tally.examples += 1
        if outcome.status is Status.PASS:
            tally.counted += outcome.counted
            if outcome.margin is not None:
                tally.margin = max(tally.margin or 0.0, outcome.margin)
        else:
            tally.status, tally.message, tally.case = outcome.status, outcome.message, case
        if outcome.status is Status.FAIL:
            self.reduce(tally, case, tallies)
        tally.seconds += time.perf_counter() - start

    def reduce(self, tally: Tally, case: Case, tallies: dict[str, Tally]) -> None:
        """Make the counterexample small; what the clause depends on keeps holding on the way."""
        earlier = [tallies[id].clause for id in tally.clause.after if id in tallies]

        def fails(candidate: Case) -> bool:
            self.listen(tally.clause.id, 0, 0)
            return judge(tally.clause, candidate).status is Status.FAIL and all(
                judge(other, candidate).status is Status.PASS for other in earlier
            )

        tally.case = reduce_case(case, fails, self.profile.reduction)
        tally.message = judge(tally.clause, tally.case).message


@dataclass(frozen=True)
class Outcome:
    """One clause on one case."""

    status: Status
    counted: bool = False
    margin: float | None = None
    message: str = ""


def keep_roots(tallies: Mapping[str, Tally]) -> None:
    """A failure that follows another one it depends on is blocked: one root instead of a cascade."""
    for tally in tallies.values():  # in the order of dependence
        broken = [id for id in tally.clause.after if id in tallies and tallies[id].broken]
        if tally.status is Status.FAIL and broken:
            tally.status, tally.case = Status.BLOCKED, None
            tally.message = f"needs {broken[0]}, which does not hold"


def explain(tallies: Mapping[str, Tally]) -> None:
    """Give each failure its name and its pictures."""
    for tally in tallies.values():
        if tally.status is Status.FAIL and tally.case is not None:
            tally.behaves_like = behaves_like(tally.case)
            tally.evidence = evidence(tally.clause.id, tally.case)


def judge(clause: Clause, case: Case) -> Outcome:
    """Check one clause on one case. What the subject raises is a failure, what we raise an error."""
    try:
        margin = clause.check(case)
        return Outcome(Status.PASS, clause.counts.holds(case), margin)
    except Violation as violation:
        return Outcome(Status.FAIL, message=str(violation))
    except SubjectError as error:
        return Outcome(Status.FAIL, message=f"expected an output for a valid input; {error}")
    except DisputeError as error:
        return Outcome(Status.ERROR, message=f"oracle disputed: {error}")
    except Exception as error:  # ours: the verdict is that there is none
        text = f"the check itself failed: {type(error).__name__}: {error}"
        return Outcome(Status.ERROR, message=text)


def draw(subject: Subject, profile: Profile, seed: int) -> list[Case]:
    """The profile's number of cases, drawn by Hypothesis; the same seed draws the same ones."""
    drawn: list[Case] = []

    @hypothesis.seed(seed)
    @settings(
        max_examples=profile.drawn,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        # A slow machine must not change the verdict, and nothing here is filtered.
        suppress_health_check=list(HealthCheck),
    )
    @given(cases(subject, largest=profile.largest))
    def collect(case: Case) -> None:
        drawn.append(case)

    collect()
    return drawn


def stop(tallies: Mapping[str, Tally], cause: Tally) -> None:
    """With --fail-fast, what is still standing after the first failure stays undecided."""
    for tally in tallies.values():
        if tally.standing:
            tally.status = Status.BLOCKED
            tally.message = f"not finished: stopped at the first failure, {cause.clause.id}"


def unsupported_message(subject: Subject, missing: Iterable[str]) -> str:
    """Why a clause cannot be asked, and the way out where the adapter knows one."""
    reasons = [subject.lacking.get(m, f"{subject.name} does not offer it") for m in missing]
    return "; ".join(f"needs {m}: {reason}" for m, reason in zip(missing, reasons, strict=True))


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


def versions() -> dict[str, str]:
    """Of everything that a verdict depends on."""
    packages = ("torch", "numpy", "hypothesis")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}


def run(
    subject: Subject,
    *,
    profile: str = "ci",
    seed: int = 0,
    only: Iterable[str] | None = None,
    fail_fast: bool = False,
    listen: Listener | None = None,
    lost: Mapping[str, str] | None = None,
) -> Report:
    """Check a subject against the clauses named (all by default).

    Raises QuestionError for clauses that do not exist or none of which concerns the subject.
    """
    clauses = [c for c in select(only) if only or profile == "thorough" or not c.thorough]
    chosen = Run(subject, clauses, profile_named(profile), seed, fail_fast)
    if listen is not None:
        chosen.listen = listen
    chosen.lost = lost or {}
    report = chosen.report()
    if not report.results:
        names = ", ".join(only or ())
        raise QuestionError(
            f"{subject.name} is of the family {subject.family}, which {names} does not concern; "
            "`attention-properties explain CLAUSE` names the families of a clause."
        )
    return report
