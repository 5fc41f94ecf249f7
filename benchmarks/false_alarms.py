"""How often right attention is accused: `python benchmarks/false_alarms.py [NAME ...] --seeds 10`.

Asks every right implementation of `properties/zoo/rights` and `properties/zoo/wide` and the nine
standard subjects all clauses, once for each seed, from a checkout. Prints, per subject, the runs,
the laws on valid input that were decided in each, the alarms (one of them that failed, or an error),
the SHOULD clauses that failed, the vacuous clauses, the largest share of an error budget used, and
the seconds. With --results FILE each finished run is kept there, and the same command goes on where it
stopped. Exit code 1 if there is an alarm, 2 if a name or a clause does not exist or a run was lost.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping
from copy import copy
from dataclasses import dataclass, field
from functools import cache
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from properties.basics.dtypes import FORMATS
from properties.basics.errors import QuestionError
from properties.commands.campaign import Told
from properties.recognition.targets import find
from properties.reports.campaign import decides
from properties.runs.campaign import Campaign
from properties.runs.engines import started
from properties.runs.journal import Journal, Line, Piece
from properties.runs.plan import summary
from properties.runs.result import Status
from properties.runs.runner import run
from properties.spec.clause import Half, Level, clauses
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

    def add(self, report: Mapping[str, Any]) -> None:
        """One more run, as `summary` tells it."""
        status, margins = report["status"], {m: c for c, m in report["margins"].items()}
        decided = [id for id, word in status.items() if word in DECIDED and is_law(id)]
        self.runs += 1
        self.decided = len(decided) if self.runs == 1 else min(self.decided, len(decided))
        self.alarms |= {failed["clause"] for failed in report["failures"] if decides(failed)}
        self.advised |= {id for id, word in status.items() if word == Status.FAIL and advice(id)}
        self.vacuous |= {id for id, word in status.items() if word == Status.VACUOUS}
        if margins and max(margins) >= self.margin:
            self.margin, self.widest = max(margins), margins[max(margins)]
        self.seconds += report["seconds"]

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


DECIDED = (Status.PASS, Status.FAIL)


def is_law(id: str) -> bool:
    """Whether a clause is a law on valid input."""
    return clauses()[id].level == Level.MUST and clauses()[id].half == Half.RIGHT


def advice(id: str) -> bool:
    """Whether a clause is one that should hold."""
    return clauses()[id].level == Level.SHOULD


def listed(names: Iterable[str]) -> str:
    """The names in order, or a dash for none."""
    return ", ".join(sorted(names)) or "-"


@cache
def subject_named(name: str) -> Subject:
    """The subject, built once in each process."""
    return rights()[name].subject() if name in rights() else find(name)[0]


def ask(piece: Piece) -> Line:
    """The report on one run, in short; none if the subject runs in none of the formats."""
    subject = copy(subject_named(piece["name"]))
    if piece["dtypes"]:
        subject.dtypes = tuple(dtype for dtype in subject.dtypes if dtype in piece["dtypes"])
    if not subject.dtypes:
        return {"reports": []}
    only = piece["only"] or None
    report = run(subject, profile=piece["profile"], seed=piece["seed"], only=only)
    return {"reports": [summary(report)]}


def tell(line: Line) -> None:
    """What is wrong in a run, as soon as it is known."""
    for report in line.get("reports", ()):
        for failed in filter(decides, report["failures"]):
            named = f"{line['piece']['name']} seed {line['piece']['seed']}"
            print(f"ALARM {named} {failed['level']} {failed['clause']}:")
            print(f"    {failed['status']}: {failed['message']}", flush=True)


def finished(pieces: list[Piece], processes: int, results: Path) -> list[Line]:
    """A line for each piece, those that were finished before among them."""
    with Journal(results) as journal, started("local", processes, None) as engine:
        return Campaign(ask, engine, journal, Told(), tell).carry_out(pieces)


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
    same = {"profile": options.profile, "dtypes": options.dtypes, "only": options.only}
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    pieces = [{"name": name, "seed": seed, **same} for seed, name in product(seeds, names)]
    with TemporaryDirectory() as folder:
        results = options.results or Path(folder) / "results.jsonl"
        lines = finished(pieces, options.jobs, results)
    rows = {name: Row() for name in names}
    for line in lines:
        for report in line.get("reports", ()):
            rows[line["piece"]["name"]].add(report)
    print(table(rows))
    accused = [name for name, row in rows.items() if row.alarms]
    lost = [f"{line['piece']}: {line['lost']}" for line in lines if "lost" in line]
    print(f"{len(rows)} subjects, {len(pieces)} runs, {len(accused)} accused: {listed(accused)}")
    print("\n".join(f"LOST {each}" for each in lost), end="\n" * bool(lost))
    return 1 if accused else 2 if lost else 0


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
    add("--results", type=Path, metavar="FILE", help="keep finished runs, and go on with them")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except QuestionError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
