"""The command `faults`: the suite itself put to the test by wrong implementations."""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from functools import partial
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from rich.console import Console

from properties.basics.errors import INTERRUPTED, QuestionError
from properties.basics.ownership import require_reference
from properties.commands import arguments, files
from properties.commands.campaign import Told
from properties.runs.engines import Here, started
from properties.runs.journal import Journal

if TYPE_CHECKING:
    from properties.zoo.matrix import Row

WRITERS = {".svg": "matrix_pictures", ".html": "matrix_page", ".json": "matrix_document"}
"""Endings of --matrix, with the module of `properties.reports` whose `write` fills the file."""


def register(commands: Any) -> None:
    """Add the command and its options."""
    command = commands.add_parser(
        "faults",
        help="verify the suite: every wrong implementation dies, every clause kills one",
    )
    command.add_argument("names", nargs="*", metavar="NAME", help="of faults; all if none is named")
    command.add_argument("--profile", default="quick", help="quick (default), ci or thorough")
    command.add_argument("--seed", type=int, default=0, help="the same seed gives the same matrix")
    command.add_argument(
        "--jobs", type=arguments.count, default=1, metavar="N", help="processes (default 1)"
    )
    command.add_argument(
        "--results", type=Path, metavar="FILE", help="keep what is finished, and go on with it"
    )
    command.add_argument(
        "--full",
        action="store_true",
        help="ask every clause alone, not only those that a fault names",
    )
    command.add_argument(
        "--matrix",
        type=Path,
        metavar="FILE",
        help="write clauses x faults to FILE.svg (a summary, and FILE-in-full.svg), FILE.html or "
        "FILE.json; implies --full",
    )
    command.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Print what became of each fault and of each clause; 0 if all faults die and all clauses kill."""
    if options.matrix:
        usable(options.matrix)
    require_reference()
    from properties.reports import matrix_text
    from properties.zoo import matrix

    full = options.full or options.matrix is not None
    found = matrix.prepare(options.names, options.profile, options.seed, full)
    console = Console(highlight=False, soft_wrap=False)

    def arrived(row: Row) -> None:
        found.rows.append(row)
        matrix_text.show_fault(row, console)

    with ExitStack() as stack:
        results = options.results or Path(stack.enter_context(TemporaryDirectory()), "rows.jsonl")
        try:
            journal = stack.enter_context(Journal(results))
            many = options.jobs > 1
            engine = stack.enter_context(started("local", options.jobs, None)) if many else Here()
            matrix.fill(found, engine, journal, Told(), arrived)
        except KeyboardInterrupt:
            known = f"{len(found.rows)} of {len(found.faults)} faults were asked"
            print(f"attention-properties: interrupted; {known}", file=sys.stderr)
            return INTERRUPTED
    matrix_text.show_clauses(found, console)
    matrix_text.show_summary(found, console)
    if options.matrix:
        writer = import_module(f"properties.reports.{WRITERS[options.matrix.suffix]}")
        if not files.written(
            "matrix", options.matrix, partial(writer.write, found, options.matrix)
        ):
            return files.unwritten(0 if found.holds else 1)
    return 0 if found.holds else 1


def usable(path: Path) -> None:
    """What cannot be written should be known before the work, not after it."""
    if path.suffix not in WRITERS:
        raise QuestionError(
            f"--matrix {path}: the ending says what is written; use {', '.join(WRITERS)}"
        )
    files.require({"matrix": path})
