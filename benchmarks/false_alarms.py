"""How often right attention is accused: `python benchmarks/false_alarms.py [NAME ...] --seeds 10`.

Asks every right implementation of `properties/zoo/rights` and `properties/zoo/wide` and the nine
standard subjects all clauses, once for each seed, from a checkout. Prints, per subject, the runs,
the laws on valid input that were decided in each, the alarms (one of them that failed, or an error),
the SHOULD clauses that failed, the vacuous clauses, the largest share of an error budget used, and
the seconds. Exit code 1 if there is an alarm, 2 if a name or a clause does not exist.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from copy import copy
from dataclasses import dataclass, field
from functools import cache
from itertools import product

from properties.basics.dtypes import FORMATS
from properties.basics.errors import QuestionError
from properties.recognition.targets import find
from properties.runs.result import Report, Result, Status
from properties.runs.runner import run
from properties.spec.profiles import PROFILES
from properties.subjects.subject import Subject
from properties.zoo.rights import rights
from properties.zoo.wide import sound_ones

STANDARD = (
    "attention:SimplifiedSelfAttention",
    "attention:SelfAttention_v1",
    "attention:SelfAttention_v2",
    "attention:CausalAttention",
    "attention:MultiHeadAttentionWrapper",
    "attention:MultiHeadAttention",
    "attention:FusedMultiHeadAttention",
    "torch.nn:MultiheadAttention",
    "torch.nn.functional:scaled_dot_product_attention",
)


@dataclass(frozen=True)
class Job:
    """One run: a subject by name, a seed, and what it is asked."""

    name: str
    seed: int
    profile: str
    dtypes: tuple[str, ...]  # none: all that the subject runs in
    only: tuple[str, ...]  # none: all clauses


@dataclass
class Row:
    """What the runs of one subject came to."""

    runs: int = 0
    decided: int = 0
    alarms: set[str] = field(default_factory=set)
    advised: set[str] = field(default_factory=set)  # what it should do and does not
    vacuous: set[str] = field(default_factory=set)
    margin: float = 0.0
    widest: str = ""
    seconds: float = 0.0

    def add(self, report: Report) -> None:
        """One more run."""
        must = report.with_status(Status.PASS, Status.FAIL, half="right")
        margins = {r.margin: r.clause for r in report.results if r.margin is not None}
        self.runs += 1
        self.decided = len(must) if self.runs == 1 else min(self.decided, len(must))
        self.alarms |= {r.clause for r in accusations(report)}
        self.advised |= {r.clause for r in report.with_status(Status.FAIL, level="SHOULD")}
        self.vacuous |= {r.clause for r in report.results if r.status is Status.VACUOUS}
        if margins and max(margins) >= self.margin:
            self.margin, self.widest = max(margins), margins[max(margins)]
        self.seconds += report.seconds

    def cells(self) -> tuple[str, ...]:
        """As it is printed."""
        return (
            str(self.runs),
            str(self.decided),
            listed(self.alarms),
            listed(self.advised),
            listed(self.vacuous),
            f"{self.margin:.3f} {self.widest}".strip(),
            f"{self.seconds:.1f}",
        )


HEADER = (
    "subject",
    "runs",
    "laws",
    "alarms",
    "SHOULD failed",
    "vacuous",
    "worst margin",
    "seconds",
)


def accusations(report: Report) -> list[Result]:
    """What is held against the subject: each law on valid input that failed, and every error."""
    errors = [result for result in report.results if result.status is Status.ERROR]
    return report.with_status(Status.FAIL, half="right") + errors


def listed(names: Iterable[str]) -> str:
    """The names in order, or a dash for none."""
    return ", ".join(sorted(names)) or "-"


@cache
def subject_named(name: str) -> Subject:
    """The subject, built once in each process."""
    return rights()[name].subject() if name in rights() else find(name)[0]


def ask(job: Job) -> Report | None:
    """The report on one run; None if the subject runs in none of the formats."""
    subject = copy(subject_named(job.name))
    if job.dtypes:
        subject.dtypes = tuple(dtype for dtype in subject.dtypes if dtype in job.dtypes)
    if not subject.dtypes:
        return None
    return run(subject, profile=job.profile, seed=job.seed, only=job.only or None)


def finished(jobs: list[Job], processes: int) -> Iterator[tuple[Job, Report | None]]:
    """The report on each job, in this process or as they come from several."""
    if processes == 1:
        for job in jobs:
            yield job, ask(job)
        return
    context = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        running = {pool.submit(ask, job): job for job in jobs}
        for future in as_completed(running):
            yield running[future], future.result()


def table(rows: dict[str, Row]) -> str:
    """One line for each subject, every column as wide as its longest cell."""
    lines = [HEADER, *((name, *row.cells()) for name, row in rows.items())]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def main(arguments: list[str]) -> int:
    """Ask, print what is wrong as it is found, then the table."""
    options = parsed(arguments)
    wide = [each.address for each in sound_ones().values()]
    names = options.names or [*rights(), *wide, *(() if options.only_rights else STANDARD)]
    settings = (options.profile, tuple(options.dtypes or ()), tuple(options.only or ()))
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    jobs = [Job(name, seed, *settings) for seed, name in product(seeds, names)]
    rows = {name: Row() for name in names}
    start = time.perf_counter()
    for done, (job, report) in enumerate(finished(jobs, options.jobs), start=1):
        taken = time.perf_counter() - start
        print(f"{done}/{len(jobs)} {taken:.0f} s {job.name} seed {job.seed}", file=sys.stderr)
        if report is None:
            continue
        rows[job.name].add(report)
        for result in accusations(report):
            print(f"ALARM {job.name} seed {job.seed} {result.level} {result.clause}:")
            print(f"    {result.status}: {result.message}", flush=True)
    print(table(rows))
    accused = [name for name, row in rows.items() if row.alarms]
    print(f"{len(rows)} subjects, {len(jobs)} runs, {len(accused)} accused: {listed(accused)}")
    return 1 if accused else 0


def parsed(arguments: list[str]) -> argparse.Namespace:
    """The options, each checked."""
    parser = argparse.ArgumentParser(description="how often right attention is accused")
    add = parser.add_argument
    add("names", nargs="*", metavar="NAME", help="right implementations or targets; default all")
    add("--only-rights", action="store_true", help="leave the nine standard subjects out")
    add("--profile", default="quick", choices=PROFILES)
    add("--seeds", type=int, default=10, help="how many seeds each is asked with")
    add("--first-seed", type=int, default=0, help="the smallest of them")
    add("--dtypes", nargs="+", choices=FORMATS, help="ask in these formats alone")
    add("--only", nargs="+", metavar="CLAUSE", help="ids or areas of clauses")
    add("--jobs", type=int, default=1, help="how many processes")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except QuestionError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
