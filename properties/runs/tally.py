"""What is known of each clause while a run goes on, and the verdict of one clause on one case."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from properties.basics import interrupts
from properties.basics.assertions import Violation
from properties.basics.errors import DeclinedError, DisputeError, OutsideError, SubjectError
from properties.cases import probing
from properties.cases.case import Case
from properties.findings.grouping import origin
from properties.runs.result import Result, Status, describe_case
from properties.runs.waivers import Waiver
from properties.spec.clause import Clause


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
    script: str = ""
    probe: dict[str, Any] | None = None
    waivers: list[Waiver] = field(default_factory=list)  # whose counterexample still fails
    outlived: list[Waiver] = field(default_factory=list)  # whose counterexample holds now
    excused: list[Case] = field(default_factory=list)  # passed over for the sake of a waiver
    limitations: list[str] = field(default_factory=list)  # what the subject cannot take, in words
    raised: str = ""  # what the subject raised, and on which line of it
    outside: int = 0  # examples that the subject cannot take
    declined: str = ""  # what it says of the first that it does not support
    remembered: bool = False  # whether it failed on a remembered case alone

    @property
    def standing(self) -> bool:
        """Whether more examples may still change the verdict."""
        return self.status is None

    @property
    def wants_more(self) -> bool:
        """Whether another example is worth its time."""
        enough = None if self.waivers else self.clause.examples
        return self.standing and (enough is None or self.counted < enough)

    def covers(self, case: Case) -> bool:
        """Whether a waiver excuses a failure on this case."""
        return any(waiver.covers(case) for waiver in self.waivers)

    def recall(self, waiver: Waiver, case: Case) -> None:
        """Ask about a waiver's counterexample, and note whether it still fails."""
        outcome = judge(self.clause, case)
        if outcome.status is Status.FAIL:
            self.waivers.append(waiver)
            self.case, self.message = case, "; ".join(known.reason for known in self.waivers)
        elif outcome.status is Status.PASS:
            self.outlived.append(waiver)
        else:
            self.status, self.message, self.case = outcome.status, outcome.message, case

    def excuses(self, case: Case) -> bool:
        """Whether the clause was passed over on this case, or may fail on it: one root."""
        return any(other is case for other in self.excused[-1:]) or self.covers(case)

    @property
    def might_have_counted(self) -> int:
        """How many of the examples that were passed over meet the condition, as far as it can be told."""
        return sum(may_count(self.clause, case) for case in self.excused)

    @property
    def broken(self) -> bool:
        """Whether what depends on the clause cannot be asked; inside its limits a subject can be."""
        return not self.limitations and self.status in (
            Status.FAIL,
            Status.BLOCKED,
            Status.ERROR,
        )

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
            script=self.script,
            half=str(self.clause.half),
            probe=self.probe,
            remembered=self.remembered,
        )


@dataclass(frozen=True)
class Outcome:
    """One clause on one case."""

    status: Status
    counted: bool = False
    margin: float | None = None
    message: str = ""
    probe: dict[str, Any] | None = None
    raised: str = ""
    outside: bool = False


def judge(clause: Clause, case: Case) -> Outcome:
    """Check one clause on one case. What the subject raises is a failure, what we raise an error."""
    probing.note(None)
    try:
        if not clause.suits(case):
            return Outcome(Status.PASS)
        margin = clause.check(case)
        return Outcome(Status.PASS, clause.counts.holds(case), margin)
    except OutsideError as error:
        declined = str(error) if isinstance(error, DeclinedError) else ""
        return Outcome(Status.PASS, message=declined, outside=True)
    except (Violation, SubjectError) as error:
        law = isinstance(error, Violation)
        message = str(error) if law else f"expected an output for a valid input; {error}"
        probe = probing.other_than(case.sizes, case.dtype)
        return Outcome(Status.FAIL, message=message, probe=probe, raised=origin(error))
    except DisputeError as error:
        return Outcome(Status.ERROR, message=f"oracle disputed: {error}")
    except Exception as error:  # ours: the verdict is that there is none
        text = f"the check itself failed: {type(error).__name__}: {error}"
        return Outcome(Status.ERROR, message=text)
    except BaseException as error:  # no clause raises such: it is the subject's
        interrupts.subjects_own(error)
        return Outcome(Status.FAIL, message=f"expected an output for a valid input; {error!r}")


def may_count(clause: Clause, case: Case) -> bool:
    """Whether an example meets the clause's condition, or a subject that fails keeps that open."""
    try:
        return clause.suits(case) and clause.counts.holds(case)
    except SubjectError:
        return True


def excuse(tally: Tally, case: Case, tallies: Mapping[str, Tally]) -> bool:
    """What depends on a waived clause is not asked where the waiver applies: one root."""
    earlier = [tallies[id] for id in tally.clause.awaited if id in tallies]
    if excused := any(other.excuses(case) for other in earlier):
        tally.excused.append(case)
    return excused


def failed(tallies: Mapping[str, Tally]) -> list[Tally]:
    """Those of the clauses that failed."""
    return [tally for tally in tallies.values() if tally.status is Status.FAIL]


def blocked_message(earlier: str, tallies: Mapping[str, Tally]) -> str:
    """Why a clause is not asked that depends on this one: the one at the root of it."""
    root = tallies[earlier]
    while root.status is Status.BLOCKED:
        root = next(
            tallies[id] for id in root.clause.awaited if id in tallies and tallies[id].broken
        )
    how = "does not hold" if root.status is Status.FAIL else "has no verdict"
    return f"needs {root.clause.id}, which {how}"


def keep_roots(tallies: Mapping[str, Tally]) -> None:
    """A failure that follows another one it depends on is blocked: one root instead of a cascade."""
    for tally in tallies.values():  # in the order of dependence
        broken = [id for id in tally.clause.awaited if id in tallies and tallies[id].broken]
        if tally.status in (Status.FAIL, Status.BLOCKED) and broken:
            tally.status, tally.case, tally.probe = Status.BLOCKED, None, None
            tally.message = blocked_message(broken[0], tallies)


def stop(tallies: Mapping[str, Tally], cause: Tally) -> None:
    """With --fail-fast, what is still standing after the first failure stays undecided."""
    for tally in tallies.values():
        if tally.standing:
            tally.status = Status.BLOCKED
            tally.message = f"not finished: stopped at the first failure, {cause.clause.id}"
