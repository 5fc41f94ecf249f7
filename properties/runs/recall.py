"""Remembered cases in a run: asked before anything is drawn, and what each of them comes to.

A clause's verdict is that of the drawn cases wherever these break it. A remembered case decides alone
where they do not, and the result says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from properties.cases.calls import may_be_told
from properties.cases.case import Case
from properties.runs.memory import FAILS, HOLDS, UNASKED, UNREADABLE, Entry
from properties.runs.result import Report, Status, read_case
from properties.runs.tally import Outcome, Tally, judge
from properties.subjects.subject import Subject

Listener = Callable[[str, int, int], None]


@dataclass
class Recall:
    """The remembered cases of one run, what became of each, and those that still fail by clause."""

    entries: Sequence[Entry] = ()
    told: list[dict[str, Any]] = field(default_factory=list)
    failing: dict[str, tuple[Case, Outcome]] = field(default_factory=dict)

    def ask(self, subject: Subject, tallies: Mapping[str, Tally], listen: Listener) -> None:
        """Ask each clause that stands about its own remembered cases; one that is not asked keeps them."""
        for entry in self.entries:
            tally = tallies.get(entry.get("clause", ""))
            if tally is None or not tally.standing:
                continue
            listen(tally.clause.id, 0, 0)
            case = replayable(entry["counterexample"], subject)
            became = UNREADABLE if case is None else self.became(tally, case, tallies)
            self.told.append({**entry, "became": became})

    def became(self, tally: Tally, case: Case, tallies: Mapping[str, Tally]) -> str:
        """Whether the clause still fails on the case, by itself and not for what it depends on."""
        earlier = [tallies[id].clause for id in tally.clause.awaited if id in tallies]
        if tally.covers(case) or any(judge(c, case).status is not Status.PASS for c in earlier):
            return UNASKED
        outcome = judge(tally.clause, case)
        if outcome.status is Status.FAIL:
            self.failing.setdefault(tally.clause.id, (case, outcome))
            return FAILS
        return HOLDS if outcome.status is Status.PASS and not outcome.outside else UNASKED

    def decide(self, tallies: Mapping[str, Tally]) -> None:
        """Let a remembered case fail a clause that no drawn one has decided."""
        for id, (case, outcome) in self.failing.items():
            tally = tallies[id]
            if tally.standing:
                tally.status, tally.message, tally.case = Status.FAIL, outcome.message, case
                tally.probe, tally.raised = outcome.probe, outcome.raised
                tally.remembered = True


def remembrances(report: Report) -> list[str]:
    """What to say of remembered failures, a line for each kind."""
    fails, holds = (
        {each["clause"] for each in report.remembered if each["became"] == became}
        for became in (FAILS, HOLDS)
    )
    alone = {result.clause for result in report.results if result.remembered}
    said = {
        "failed last time, holds now": holds - fails,
        "failed last time, fails again": fails - alone,
        f"fails on a remembered case alone, not on what seed {report.seed} draws (--no-database "
        "leaves such cases out)": alone,
    }
    return [f"{words}: {', '.join(sorted(ids))}" for words, ids in said.items() if ids]


def replayable(data: Mapping[str, Any], subject: Subject) -> Case | None:
    """The case for this subject; None where it is none that the subject could be asked."""
    try:
        case = read_case(data, subject)
    except (KeyError, TypeError, ValueError):
        return None
    fits = (case.weights is not None) == subject.has("projections")
    fits &= may_be_told(subject, case.call, case.sizes)
    shares = case.sizes.key_heads < case.sizes.heads and not subject.bare
    fits &= not shares or subject.has("groups") or subject.has("one group")
    return case if fits and case.dtype in subject.dtypes else None
