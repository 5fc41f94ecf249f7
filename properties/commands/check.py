"""The command `check`: the verdict on implementations, printed and written."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from properties.basics.errors import INTERRUPTED, QuestionError
from properties.commands import arguments, files, observing, progress, waiving

if TYPE_CHECKING:
    from properties.commands.progress import Listener
    from properties.runs.result import Report

WRITERS = {
    "json": ("document", "the report as JSON"),
    "html": ("page", "the report as a page"),
    "junit": ("junit", "the report as JUnit XML"),
    "badge": ("badge", "the verdict as a shields.io endpoint"),
    "statement": ("statement", "a conformance statement for `verify`"),
}
"""Options that name a file, with the module of `properties.reports` whose `write` fills it."""


def register(commands: Any) -> None:
    """Add the command and its options."""
    command = commands.add_parser("check", help="verify implementations")
    arguments.add_targets(command)
    arguments.add_conventions(command)
    arguments.add_given(command)
    arguments.add_run(command)
    arguments.add_database(command)
    command.add_argument(
        "-v", "--verbose", action="store_true", help="a line for each clause, findings in full"
    )
    command.add_argument(
        "--fail-fast", action="store_true", help="stop at the first failed MUST clause"
    )
    command.add_argument(
        "--strict",
        action="store_true",
        help="bad input that is not refused, and an edge of a single size, decide as well",
    )
    command.add_argument(
        "--jobs",
        type=arguments.count,
        default=1,
        metavar="N",
        help="how many processes share the work (default 1); the verdict is the same",
    )
    waiving.add(command)
    observing.add(command)
    for name, (_, what) in WRITERS.items():
        command.add_argument(f"--{name}", type=Path, metavar="FILE", help=f"write {what} too")
    command.add_argument(
        "--repro", type=Path, metavar="DIR", help="write a script for each failure into a folder"
    )
    command.set_defaults(command=run)


@dataclass
class Found:
    """What has come of the targets so far."""

    arrived: Callable[[Report, int], None]  # the report, and the how many-th it is
    reports: list[Report] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)  # by name: why there is no verdict
    unfinished: dict[str, str] = field(default_factory=dict)  # the same, because of Ctrl-C
    now: dict[str, tuple[str, int, int]] = field(
        default_factory=dict
    )  # by subject: phase, examples done, in all
    interrupted: bool = False
    observe: Callable[[dict[str, Any]], None] | None = None

    def take(self, report: Report) -> None:
        """One more verdict."""
        self.now.pop(report.subject, None)
        self.reports.append(report)
        self.arrived(report, len(self.reports))

    @property
    def interruption(self) -> str:
        """Where Ctrl-C came, and what is known all the same."""
        subject, (phase, done, total) = next(reversed(self.now.items()), ("", ("", 0, 0)))
        where = f" at {phase} of {subject}" if subject else ""
        examples = f", example {done + 1} of {total}" if total else ""
        count = len(self.reports)
        known = f"{count} verdict{'s' * (count != 1)} before that" if count else "no verdict yet"
        return f"interrupted{where}{examples}; {known}"


def run(options: argparse.Namespace) -> int:
    """The verdict on every subject of the targets; the worst of them is the exit code."""
    from properties.runs.result import Report
    from properties.spec.profiles import profile_named

    options.targets = arguments.named(options)
    waivers = waiving.file(options)
    profile_named(options.profile)
    outputs = require_outputs(options)
    console = Console(highlight=False, soft_wrap=False)
    found = Found(partial(show, console, options.verbose))
    with (
        observing.observed(options, console) as found.observe,
        progress.shown(options.targets[0], options.jobs) as tell,
    ):
        ask(options, waivers, found, tell)
    reports = list(found.reports)
    for name, reason in {**found.refused, **found.unfinished}.items():
        reports.append(Report.refused(name, options.profile, options.seed, reason))
    complete = write(reports, outputs, options, console)
    if options.accept and not found.interrupted:
        accept = partial(waiving.accept, options, found.reports)
        complete &= files.written("waivers", options.waivers, accept)
    summarise(found, console)
    code = arguments.exit_code(found.reports, found.refused)
    if found.interrupted:
        print(f"attention-properties: {found.interruption}", file=sys.stderr)
        return INTERRUPTED
    return code if complete else files.unwritten(code)


def require_outputs(options: argparse.Namespace) -> dict[str, Path]:
    """The files to write, by option; QuestionError where one of them, or the folder, cannot be."""
    from properties.reports import reproducer

    outputs = {name: getattr(options, name) for name in WRITERS if getattr(options, name)}
    observed = {"observe": options.observe} if options.observe else {}
    sources = arguments.sources(options.targets)
    if options.accept:
        files.require({**outputs, **observed, "waivers": options.waivers}, sources)
    else:
        files.require({**outputs, **observed}, [*sources, *filter(None, [options.waivers])])
    if options.repro is not None:
        for name, path in outputs.items():
            if files.same(path, options.repro):
                raise QuestionError(f"--{name} and --repro both name {path}; name two")
        reproducer.usable(options.repro)
    return outputs


def ask(options: argparse.Namespace, waivers: str | None, found: Found, tell: Listener) -> None:
    """Every target, one after the other. Ctrl-C ends it, and what is known by then is kept."""
    from properties.runs.isolation import Request, run_isolated
    from properties.runs.memory import opened
    from properties.subjects.declaring import parse

    declared, memory = parse(options.convention), opened(options.database)
    asked = {
        "profile": options.profile,
        "seed": options.seed,
        "only": options.only,
        "fail_fast": options.fail_fast,
        "strict": options.strict,
        "waivers": waivers,
        "scripts": options.repro is not None,
    }

    def progressed(subject: str, *now: Any) -> None:
        found.now[subject] = now
        tell(subject, *now)

    for target in options.targets:
        request = Request(
            target,
            options.family,
            asked,
            options.timeout,
            progressed,
            found.take,
            declared,
            given=options.given,
            jobs=options.jobs,
            memory=memory,
            observe=found.observe,
        )
        try:
            if not found.interrupted:
                run_isolated(request)
        except KeyboardInterrupt:
            found.interrupted = True
        if found.interrupted:
            reported = {report.subject for report in request.reports}
            for name in request.names or [target]:
                if name not in reported:
                    found.unfinished[name] = f"{name} has no verdict: the run was interrupted"
        found.refused |= request.refused


def show(console: Console, verbose: bool, report: Report, number: int) -> None:
    """One report; from the second on there is a line above."""
    from properties.reports import annotations, terminal

    if number > 1:
        console.rule()
    terminal.show(report, console, verbose=verbose)
    annotations.show(report)


def write(
    reports: list[Report], outputs: dict[str, Path], options: argparse.Namespace, console: Console
) -> bool:
    """Write whatever was asked for; whether all of it could be."""
    from properties.reports import reproducer

    complete = True
    for name, path in outputs.items():
        writer = import_module(f"properties.reports.{WRITERS[name][0]}")
        complete &= files.written(name, path, partial(writer.write, reports, path))
    if options.repro is not None:

        def scripts() -> None:
            for line in reproducer.write(reports, options.repro):
                console.print(line, markup=False, soft_wrap=True)

        complete &= files.written("repro", options.repro, scripts)
    return complete


def summarise(found: Found, console: Console) -> None:
    """One line for each of several subjects."""
    from properties.reports import terminal

    if len(found.reports) + len(found.refused) + len(found.unfinished) > 1:
        console.rule("in short")
        for report in found.reports:
            console.print(terminal.headline(report), soft_wrap=True)
        for name in (*found.refused, *found.unfinished):
            console.print(f"{name} has no verdict", style="yellow", markup=False, soft_wrap=True)
