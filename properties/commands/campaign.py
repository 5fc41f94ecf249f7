"""The command `campaign`: many subjects, seeds and formats, by many workers, for hours."""

from __future__ import annotations

import argparse
import json
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

from properties.commands import arguments, files

EVERY = 10.0  # seconds between two lines of progress


def register(commands: Any) -> None:
    """Add the command and its options."""
    command = commands.add_parser(
        "campaign",
        help="ask many implementations with many seeds, and resume",
        description="Ask all that PLAN.toml names. Each finished piece is on disk at once; run the same "
        "command again to go on. Exit code: 0 no law failed, 1 one did, 2 something was not asked.",
    )
    command.add_argument("plan", type=Path, metavar="PLAN.toml", help="targets, seeds, formats")
    command.add_argument("--engine", default="local", help="local (default), dask or ray")
    command.add_argument(
        "--jobs",
        type=arguments.count,
        default=1,
        metavar="N",
        help="how many workers are started (default 1)",
    )
    command.add_argument("--address", help="of a cluster of dask or ray that there is")
    command.add_argument(
        "--results",
        type=Path,
        metavar="FILE",
        help="where finished pieces are kept (default: PLAN.jsonl)",
    )
    arguments.add_database(command)
    command.add_argument(
        "--json", type=Path, metavar="FILE", help="write the merged report as JSON"
    )
    command.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Carry it out, print the merged report and write it."""
    from properties.reports.campaign import merged
    from properties.runs import plan
    from properties.runs.campaign import Campaign
    from properties.runs.engines import started
    from properties.runs.journal import Journal
    from properties.runs.memory import opened

    results = options.results or options.plan.with_suffix(".jsonl")
    pieces = plan.read(options.plan).pieces()
    files.require(
        {"results": results, **({"json": options.json} if options.json else {})}, [options.plan]
    )
    memory, known = opened(options.database), set[tuple[str, str]]()

    def arrived(line: dict[str, Any]) -> None:
        for report in line.get("reports", ()):
            for failed in report["failures"]:
                which = (report["subject"], failed["clause"])
                if failed["clause"] in report["remembered"] and which not in known:
                    known.add(which)
                    for note in memory.learn(report["subject"], [failed], ()):
                        print(f"attention-properties: {note}", file=sys.stderr)

    with (
        Journal(results) as journal,
        started(options.engine, options.jobs, options.address) as engine,
    ):
        found = merged(Campaign(plan.ask, engine, journal, Told(), arrived).carry_out(pieces))
    for line in found.lines():
        print(line)
    write = partial(write_json, options.json, found.to_dict())
    if options.json and not files.written("json", options.json, write):
        return files.unwritten(found.exit_code)
    return found.exit_code


def write_json(path: Path, document: dict[str, Any]) -> None:
    """The merged report."""
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


class Told:
    """How far it is, in a line on standard error now and then."""

    def __init__(self) -> None:
        self.start = self.last = time.monotonic()

    def __call__(self, finished: int, total: int, left: float) -> None:
        """Say so if it is time."""
        now = time.monotonic()
        if finished < total and now - self.last < EVERY:
            return
        self.last = now
        rest = f"about {duration(left)} left" if finished < total else "all finished"
        said = f"{finished} of {total} pieces, {duration(now - self.start)}, {rest}"
        print(f"attention-properties: {said}", file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """Seconds, minutes or hours, whichever is short."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
