"""The command line: check, clauses, explain."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from properties.errors import QuestionError

if TYPE_CHECKING:
    from properties.isolation import Request

CANNOT_ASK = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 all MUST clauses hold, 1 one does not, 2 the question could not be asked."""
    options = parser().parse_args(arguments)
    try:
        code: int = options.command(options)
        return code
    except QuestionError as error:
        print(f"attention-properties: {error}", file=sys.stderr)
        return CANNOT_ASK


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    top = argparse.ArgumentParser(
        prog="attention-properties", description="Is this attention right? Ask in seconds."
    )
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    check = commands.add_parser("check", help="verify an implementation")
    check.add_argument(
        "target",
        metavar="TARGET",
        help="package.module:Name, path/to/file.py:Name or path/to/notebook.ipynb:Name; "
        "without a name, every attention class in it",
    )
    check.add_argument(
        "--family", help="plain, self, causal, wrapper or multihead; found if not said"
    )
    check.add_argument("--profile", default="ci", help="quick, ci (default) or thorough")
    check.add_argument("--seed", type=int, default=0, help="the same seed gives the same verdict")
    check.add_argument("--only", nargs="+", metavar="CLAUSE", help="clauses or areas, by id")
    check.add_argument("--json", type=Path, metavar="FILE", help="write the report as JSON too")
    check.add_argument(
        "--timeout",
        type=positive,
        default=60.0,
        metavar="SECONDS",
        help="end the subject when one step of the check takes longer (default 60)",
    )
    check.add_argument(
        "--fail-fast", action="store_true", help="stop at the first failed MUST clause"
    )
    check.set_defaults(command=run_check)
    commands.add_parser("clauses", help="the specification as a table").set_defaults(
        command=run_clauses
    )
    explain = commands.add_parser("explain", help="one clause, with its reason")
    explain.add_argument("clause", metavar="CLAUSE")
    explain.set_defaults(command=run_explain)
    return top


def positive(text: str) -> float:
    """A number of seconds above zero."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return value


def run_check(options: argparse.Namespace) -> int:
    """The verdict on every subject of the target; the worst of them is the exit code."""
    from properties.isolation import Request, run_isolated
    from properties.profiles import profile_named
    from properties.report.terminal import show
    from properties.result import as_json

    profile_named(options.profile)
    writable(options.json)
    console = Console(highlight=False, soft_wrap=False)
    request = Request(
        target=options.target,
        family=options.family,
        options={
            "profile": options.profile,
            "seed": options.seed,
            "only": options.only,
            "fail_fast": options.fail_fast,
        },
        timeout=options.timeout,
    )
    with progress_bar(request):
        reports = run_isolated(request)
    for number, report in enumerate(reports):
        if number:
            console.rule()
        show(report, console, target=exact_target(options.target, report.subject))
    if options.json:
        options.json.write_text(as_json(reports) + "\n", encoding="utf-8")
    for reason in request.refused.values():
        print(f"attention-properties: {reason}", file=sys.stderr)
    codes = {report.exit_code for report in reports} | ({CANNOT_ASK} if request.refused else set())
    return 1 if 1 in codes else max(codes, default=CANNOT_ASK)


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


def writable(path: Path | None) -> None:
    """A report that cannot be written should be known before the work, not after it."""
    if path is not None and (path.is_dir() or not path.parent.is_dir()):
        raise QuestionError(f"--json {path}: not a file in an existing folder; name one")


def exact_target(target: str, name: str) -> str:
    """The target as typed, narrowed to one of its classes."""
    known = target.rpartition(":")[2]
    short = name.rpartition(":")[2]
    return target if known == short else f"{target}:{short}"


def run_clauses(options: argparse.Namespace) -> int:
    """Print the table of the specification."""
    from properties.report.specification import table

    Console(highlight=False).print(table())
    return 0


def run_explain(options: argparse.Namespace) -> int:
    """Print one clause's section."""
    from properties.report.specification import explain

    print(explain(options.clause))
    return 0
