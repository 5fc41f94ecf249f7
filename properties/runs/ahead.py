"""What clauses say of cases, computed ahead by several processes for one run of one subject.

A clause says the same of a case wherever it is asked. So several processes each ask about a share of the
cases, and the run itself, which goes through all cases in their order, looks up what is known and asks the
rest: verdict and counterexample are those of a single process by construction.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import redirect_stdout
from dataclasses import asdict
from io import StringIO
from typing import Any

from properties.basics import interrupts
from properties.cases.case import Case
from properties.runs.choosing import asked
from properties.runs.domain import explore
from properties.runs.result import Status
from properties.runs.runner import Listener, Run, quiet_and_repeatable
from properties.runs.settling import block
from properties.runs.tally import Outcome, Tally
from properties.spec.profiles import profile_named
from properties.subjects.subject import Subject

Told = list[Any]
"""A clause, the number of a case, and the outcome as plain data."""


def known(told: Iterable[Told]) -> dict[tuple[str, int], Outcome]:
    """The outcomes by clause and number of the case."""
    return {
        (clause, number): Outcome(**{**outcome, "status": Status(outcome["status"])})
        for clause, number, outcome in told
    }


def look_ahead(
    subject: Subject,
    share: int,
    jobs: int,
    options: Mapping[str, Any],
    examples: list[Case],
    listen: Listener,
) -> list[Told]:
    """The share-th part of what a run with these options will ask; examples: filled where it is empty."""
    profile, seed = profile_named(options["profile"]), options["seed"]
    run = Run(subject, asked(profile.name, options["only"]), profile, seed, listen=listen)
    with interrupts.watched(), quiet_and_repeatable(), redirect_stdout(StringIO()):
        run.inside, _ = explore(subject)
        run.examples = examples
        run.draw()
        return list(told_of(run, share, jobs, examples))


def told_of(run: Run, share: int, jobs: int, examples: list[Case]) -> Iterator[Told]:
    """A clause that is asked until some examples count belongs to one share; of all others each share
    has every jobs-th case.
    """
    tallies = run.tallies()
    own = {id for place, id in enumerate(tallies) if place % jobs == share}
    for number, case in enumerate(examples):
        run.lender.reused = False
        for id, tally in tallies.items():
            mine = number % jobs == share if tally.clause.examples is None else id in own
            if mine and tally.wants_more:
                block(tally, tallies)
            if mine and tally.wants_more:
                run.listen(id, number, len(examples))
                outcome = note(run, tally, case)
                yield [id, number, asdict(outcome)]


def note(run: Run, tally: Tally, case: Case) -> Outcome:
    """One clause on one case; after a failure no more is asked of it here, the run makes it small."""
    outcome, _ = run.ask(tally.clause, case)
    if outcome.status is Status.PASS:
        tally.counted += outcome.counted
    else:
        tally.status = outcome.status
    return outcome
