"""Two subjects -> Comparison: everything that a refactor may change, asked once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field, replace
from io import StringIO
from typing import Any

from properties.basics.assertions import Violation
from properties.basics.errors import OutsideError, QuestionError
from properties.cases.case import Case
from properties.cases.long_rows import lengths
from properties.cases.reduction import reduce_case
from properties.cases.strategies import pinned_cases
from properties.compare.calls import (
    CallDiffers,
    compare_arguments,
    compare_calls,
    compare_conventions,
)
from properties.compare.checkpoint import compare_checkpoints, misread
from properties.compare.cost import measure
from properties.compare.load import load_pair
from properties.compare.mapping import Names, carried, examples, require_known
from properties.compare.outcome import Agreement, Change, Comparison
from properties.compare.refusals import compare_refusals
from properties.compare.results import (
    Common,
    Pair,
    both,
    compare_gradients,
    compare_long_rows,
    compare_outputs,
)
from properties.compare.verdicts import compare_interfaces, compare_verdicts
from properties.runs.drawing import draw
from properties.runs.memory import FAILS, HOLDS, UNREADABLE, Entry, broken_by
from properties.runs.recall import replayable
from properties.runs.remarks import versions
from properties.runs.result import Report, Status, describe_case
from properties.runs.runner import quiet_and_repeatable, run
from properties.spec.profiles import Profile, profile_named
from properties.subjects import choosing, declaring
from properties.subjects.subject import Subject

Listener = Callable[[str, int, int], None]  # what is compared, examples done, in all
PATIENCE = 3  # lost processes after which no more clauses are asked
REPEATED = 8  # examples on which the same seed is tried for the same dropped weights
CALLED = 16  # examples of which the calls are compared: each has a call for every pair of roles
KINDS = {
    "outputs": "outputs",
    "long rows": "outputs",
    "calls": "calls",
    "gradients": "gradients",
    "checkpoint": "checkpoint",
    "bad input": "refusal",
}
Judge = Callable[[Pair, Case], Agreement]


@dataclass
class Work:
    """One comparison while it is made.

    lost: by the phase ("old shape/output-shape", "gradients"), how it took the process down.
    """

    pair: Pair
    mapping: Names
    profile: Profile
    seed: int
    only: list[str] | None
    listen: Listener
    lost: Mapping[str, str]
    changes: list[Change] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    remembered: Sequence[Entry] = ()
    told: list[dict[str, Any]] = field(default_factory=list)

    def verdicts(self) -> int:
        """Ask both sides the clauses; how many were asked of both."""
        clauses_lost = {n: how for n, how in self.lost.items() if "/" in n}
        if len(clauses_lost) >= PATIENCE:
            self.notes.append("no clauses were asked: the process was lost too often")
            for name, how in clauses_lost.items():
                side, _, clause = name.partition(" ")
                told = (how, "not asked") if side == "old" else ("not asked", how)
                self.changes.append(Change("clause", clause, *told, clause))
            return 0
        old, new = (self.report(side) for side in ("old", "new"))
        self.told += new.remembered
        changes, notes = compare_verdicts(old, new)
        self.changes += changes
        self.notes += notes
        asked = [
            {r.clause for r in report.results if r.status is not Status.UNSUPPORTED}
            for report in (old, new)
        ]
        return len(asked[0] & asked[1])

    def report(self, side: str) -> Report:
        """The suite's report on one side."""

        def listen(phase: str, done: int, total: int) -> None:
            self.listen(f"{side} {phase}", done, total)

        prefix = f"{side} "
        return run(
            getattr(self.pair, side),
            profile=self.profile.name,
            seed=self.seed,
            only=self.only,
            listen=listen,
            lost={n.removeprefix(prefix): h for n, h in self.lost.items() if n.startswith(prefix)},
            remembered=[entry for entry in self.remembered if "clause" in entry],
        )

    def results(self, kind: str, judge: Judge, cases: list[Case]) -> Agreement:
        """Compare outputs or gradients until they differ; a difference is made small."""
        if self.is_lost(kind):
            return Agreement()
        found, known = Agreement(), self.replay(kind, judge)
        for number, case in enumerate(cases):
            self.listen(kind, number, len(cases))
            try:
                found += judge(self.pair, case)
            except Violation:
                self.changes.append(self.smallest(kind, judge, case))
                break
        else:
            self.changes += known[:1]
        return found

    def replay(self, kind: str, judge: Judge) -> list[Change]:
        """The remembered cases on which the sides still differ; they decide where no drawn one does."""
        still = []
        for entry in (e for e in self.remembered if e.get("compared") == kind):
            self.listen(kind, 0, 0)
            case, became = replayable(entry["counterexample"], Common(self.pair)), UNREADABLE
            if case is not None:
                violation = difference(self.pair, judge, case)
                became = HOLDS if violation is None else FAILS
                still += [] if violation is None else [changed(kind, violation, case)]
            self.told.append({**entry, "became": became})
        return still

    def long_rows(self, subject: Subject) -> Agreement:
        """Compare the outputs of more tokens than are drawn, as many as the profile asks for."""
        found = Agreement()
        if self.is_lost("long rows") or not (
            subject.family == "plain" or subject.has("projections")
        ):
            return found
        asked = [(d, *n) for d in subject.dtypes for n in lengths(self.profile.name).items()]
        for number, (dtype, tokens, items) in enumerate(asked):
            self.listen("long rows", number, len(asked))
            try:
                found += compare_long_rows(self.pair, subject, tokens, items, dtype)
            except OutsideError:
                continue
            except Violation as violation:
                what = f"rows of {tokens} tokens in {dtype}"
                actual = str(violation).partition("; got ")[2]
                self.changes.append(Change("outputs", what, violation.expected, actual))
                break
        return found

    def smallest(self, kind: str, judge: Judge, case: Case) -> Change:
        """The difference on the smallest example found."""

        def differs(candidate: Case) -> bool:
            self.listen(kind, 0, 0)
            return difference(self.pair, judge, candidate) is not None

        small = reduce_case(case, differs, self.profile.reduction)
        violation = difference(self.pair, judge, small) or Violation("", "", {})
        return changed(kind, violation, small)

    def checkpoints(self, judged: bool) -> None:
        """Compare what is saved, without and with biases."""
        if self.pair.old.family == "plain" or self.is_lost("checkpoint"):
            return
        self.listen("checkpoint", 0, 0)
        for case in reversed(examples(Common(self.pair))):  # with biases there is more to see
            try:
                changes, notes = compare_checkpoints(self.pair, case, self.mapping, judged)
            except Violation as violation:
                changes, notes = [misread(violation)], []
            if changes or notes:
                self.changes += changes
                self.notes += notes
                return

    def refusals(self, case: Case) -> None:
        """Compare what is refused."""
        if self.is_lost("bad input"):
            return
        self.listen("bad input", 0, 0)
        changes, notes = compare_refusals(self.pair, case)
        self.changes += changes
        self.notes += notes

    def interfaces(self, differ: bool) -> None:
        """Compare what may be handed over, and what it means; differ: whether outputs do."""
        changes, notes = compare_arguments(self.pair)
        self.changes += [
            *compare_conventions(self.pair, differ),
            *compare_interfaces(self.pair),
            *changes,
        ]
        self.notes += notes

    def draws(self, cases: list[Case]) -> None:
        """Note whether the same seed still drops the same weights."""
        if not all(side.has("dropout") for side in self.pair.sides) or self.is_lost("dropout"):
            return
        self.listen("dropout", 0, 0)

        def dropped(own: Case) -> bytes:
            return own.run(training=True, dropout=own.dropout).tobytes()

        try:
            found = [both(dropped, self.pair, case) for case in cases[:REPEATED]]
        except Violation:  # only one side can be trained: the clauses about dropout say so
            return
        same = all(pair is None or pair[0] == pair[1] for pair in found)
        numbers = "the same numbers" if same else "other numbers"
        self.notes.append(f"in training the same seed gives {numbers} (not judged)")

    def cost(self, subject: Subject) -> dict[str, float]:
        """Time and memory, new over old."""
        if self.is_lost("cost"):
            return {}
        self.listen("cost", 0, 0)
        return measure(self.pair, subject)

    def is_lost(self, phase: str) -> bool:
        """Whether this took the process down before; noted as a change where it is judged."""
        if phase not in self.lost:
            return False
        if phase in KINDS:
            what = f"comparing the {phase}" if phase != "bad input" else "asking for refusals"
            self.changes.append(Change(KINDS[phase], what, "", self.lost[phase]))
        else:
            self.notes.append(f"{phase}: {self.lost[phase]}")
        return True


def difference(pair: Pair, judge: Judge, case: Case) -> Violation | None:
    """How the sides differ on a case, if they do."""
    try:
        judge(pair, case)
    except Violation as violation:
        return violation
    return None


def changed(kind: str, violation: Violation, case: Case) -> Change:
    """A difference of outputs or gradients, with the case that shows it."""
    what = "eval mode" if kind == "outputs" else ""
    actual = str(violation).partition("; got ")[2]
    told = list(violation.told) if isinstance(violation, CallDiffers) else []
    example = describe_case(case)
    return Change(kind, what, violation.expected, actual, counterexample=example, told=told)


def compare(
    old: Any,
    new: Any,
    *,
    mapping: Names | None = None,
    family: str | None = None,
    profile: str = "ci",
    seed: int = 0,
    only: Iterable[str] | None = None,
    conventions: Mapping[str, str] | None = None,
    given: Mapping[str, Any] | None = None,
    listen: Listener = lambda phase, done, total: None,
    lost: Mapping[str, str] | None = None,
    remembered: Sequence[Entry] = (),
) -> Comparison:
    """Compare two targets; see `properties.diff`."""
    amount = profile_named(profile)
    subjects = load_pair(old, new, family, conventions, given)
    if mapping:
        require_known(mapping, *subjects)
    pair = Pair(*carried(*subjects, mapping))
    common = Common(pair)
    if not common.dtypes:
        raise QuestionError(
            f"{pair.old.name} runs in {', '.join(pair.old.dtypes)}, {pair.new.name} in "
            f"{', '.join(pair.new.dtypes)}: there is no format to compare them in."
        )
    chosen = None if only is None else list(only)
    work = Work(pair, mapping or {}, amount, seed, chosen, listen, lost or {})
    work.remembered = remembered
    with quiet_and_repeatable(), redirect_stdout(StringIO()):
        asked = [*words(family, mapping, chosen), *declaring.options(conventions or {})]
        asked += choosing.options(given or {})
        return replace(complete(work, common), options=asked)


def words(family: str | None, mapping: Names | None, only: Sequence[str] | None) -> list[str]:
    """The options of the command line that ask for this."""
    given = {
        "--family": [] if family is None else [family],
        "--mapping": [f"{old}={new}" for old, new in (mapping or {}).items()],
        "--only": list(only or ()),
    }
    return [word for option, values in given.items() if values for word in (option, *values)]


def once(changes: list[Change]) -> list[Change]:
    """The changes without the refusals that a broken clause tells of already."""
    told = {name for c in changes if c.kind == "clause" for name in (c.clause, *c.also)}
    return [c for c in changes if c.kind != "refusal" or c.clause not in told]


def alike(told: Iterable[Entry]) -> list[str]:
    """A note of what differed before and does not now."""
    entries = list(told)
    fails = {broken_by(entry) for entry in entries if entry["became"] == FAILS}
    holds = {broken_by(entry) for entry in entries if entry["became"] == HOLDS} - fails
    names = sorted(clause or kind or "" for clause, kind in holds)
    return [f"differed last time, and does not now: {', '.join(names)}"] if names else []


def complete(work: Work, common: Subject) -> Comparison:
    """All of it, in the order in which one thing makes the next worth asking."""
    start = time.perf_counter()
    cases = pinned_cases(common) + draw(common, work.profile, work.seed)
    outputs = work.results("outputs", compare_outputs, cases)
    if not work.changes:
        outputs += work.long_rows(common)
    calls = Agreement()
    if not work.changes:
        calls = work.results("calls", compare_calls, cases[:CALLED])
    differ = bool(work.changes)
    if not (outputs.examples or differ):
        raise QuestionError(
            f"Neither {work.pair.old.name} nor {work.pair.new.name} gives an output on any "
            "example, so there is nothing to compare.\n"
            "What to do: `attention-properties check` says what each of them raises."
        )
    # Other outputs have other gradients: that is no second finding.
    gradients = Agreement()
    if not common.has("gradients"):
        work.notes.append("gradients: not compared, because not both sides have any")
    elif not differ:
        gradients = work.results("gradients", compare_gradients, cases)
    work.checkpoints(judged=not differ)
    work.refusals(cases[0])
    asked = work.verdicts()
    work.draws(cases)
    work.interfaces(differ)
    work.notes += alike(work.told)
    return Comparison(
        old=work.pair.old.name,
        new=work.pair.new.name,
        family=work.pair.old.family,
        profile=work.profile.name,
        seed=work.seed,
        outputs=outputs,
        gradients=gradients,
        calls=calls,
        changes=sorted(once(work.changes), key=lambda change: change.size),
        asked=asked,
        notes=work.notes,
        cost=work.cost(common),
        remembered=work.told,
        versions=versions(),
        seconds=round(time.perf_counter() - start, 3),
    )
