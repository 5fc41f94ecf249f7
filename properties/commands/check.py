"""The command `check`: the verdict on an implementation, printed and written."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from properties.commands import arguments, waiving

if TYPE_CHECKING:
    from properties.isolation import Request
    from properties.result import Report

WRITERS = {
    "json": ("document", "the report as JSON"),
    "html": ("page", "the report as a page"),
    "junit": ("junit", "the report as JUnit XML"),
    "badge": ("badge", "the verdict as a shields.io endpoint"),
    "statement": ("statement", "a conformance statement for `verify`"),
}
"""Options that name a file, with the module of `properties.report` whose `write` fills it."""


def register(commands: Any) -> None:
    """Add the command and its options."""
    command = commands.add_parser("check", help="verify an implementation")
    arguments.add_target(command)
    arguments.add_run(command)
    command.add_argument(
        "-v", "--verbose", action="store_true", help="a line for each clause, findings in full"
    )
    command.add_argument(
        "--fail-fast", action="store_true", help="stop at the first failed MUST clause"
    )
    waiving.add(command)
    for name, (_, what) in WRITERS.items():
        command.add_argument(f"--{name}", type=Path, metavar="FILE", help=f"write {what} too")
    command.add_argument(
        "--repro", type=Path, metavar="DIR", help="write a script for each failure into a folder"
    )
    command.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """The verdict on every subject of the target; the worst of them is the exit code."""
    from properties.isolation import Request, run_isolated
    from properties.profiles import profile_named
    from properties.report import annotations, reproducer, terminal
    from properties.result import Report

    waivers = waiving.file(options)
    profile_named(options.profile)
    files = {name: getattr(options, name) for name in WRITERS if getattr(options, name)}
    for name, path in files.items():
        arguments.writable(name, path)
    if options.repro is not None:
        reproducer.usable(options.repro)
    console = Console(highlight=False, soft_wrap=False)
    request = Request(
        target=options.target,
        family=options.family,
        options={
            "profile": options.profile,
            "seed": options.seed,
            "only": options.only,
            "fail_fast": options.fail_fast,
            "waivers": waivers,
            "scripts": options.repro is not None,
        },
        timeout=options.timeout,
    )

    def arrived(report: Report) -> None:
        if len(request.reports) > 1:
            console.rule()
        terminal.show(report, console, verbose=options.verbose)
        annotations.show(report)

    request.arrived = arrived
    with progress_bar(request):
        reports = run_isolated(request)
    waiving.accept(options, reports)
    for name, reason in request.refused.items():
        reports.append(Report.refused(name, options.profile, options.seed, reason))
    for name, path in files.items():
        import_module(f"properties.report.{WRITERS[name][0]}").write(reports, path)
    for line in reproducer.write(reports, options.repro) if options.repro else ():
        console.print(line, markup=False, soft_wrap=True)
    return arguments.exit_code(reports, request.refused)


@contextmanager
def progress_bar(request: Request) -> Iterator[None]:
    """A bar on a terminal's standard error; nothing in a pipe."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    columns = (TextColumn("{task.fields[subject]}"), BarColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("starting", subject=request.target, total=None)

        def progress(subject: str, phase: str, done: int, total: int) -> None:
            bar.update(task, subject=subject, description=phase)
            if total:
                bar.update(task, completed=done, total=total)

        request.progress = progress
        yield
