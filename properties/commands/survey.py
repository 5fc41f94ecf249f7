"""The command `survey`: attention of public libraries, as far as these are installed."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from properties.basics.errors import CANNOT_ASK
from properties.commands import arguments, files, progress

if TYPE_CHECKING:
    from properties.commands.progress import Listener
    from properties.runs.result import Report
    from properties.survey.comparing import Failing
    from properties.survey.lines import Line
    from properties.survey.row import Row

SURVEYED = Path()
"""In the place of a report: what fails in the survey itself."""


def register(commands: Any) -> None:
    """Add the command and its options."""
    command = commands.add_parser(
        "survey", help="ask the attention of every known library that is installed"
    )
    command.add_argument("--only", nargs="+", metavar="LIB", help="these libraries alone")
    command.add_argument(
        "--compare",
        nargs="?",
        type=Path,
        const=SURVEYED,
        metavar="REPORT",
        help="hand the smallest case of each failure to every other library that is installed, and say "
        "who agrees with whom; with a file that check --json wrote, its failures alone, and --only chooses "
        "the libraries that are asked",
    )
    command.add_argument("--profile", default="quick", help="quick (default), ci or thorough")
    command.add_argument("--seed", type=int, default=0, help="the same seed gives the same verdict")
    command.add_argument(
        "--json", type=Path, metavar="FILE", help="write the rows; those of others there are kept"
    )
    command.add_argument(
        "--page", type=Path, metavar="FILE", help="draw the tables of a Markdown page anew"
    )
    command.add_argument(
        "--inject",
        action="store_true",
        help="put four faults around each, and say by which law they are told",
    )
    arguments.add_timeout(command)
    command.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """0 all that was asked has a verdict, right or not; 2 something was refused, or nothing asked."""
    from properties.spec.profiles import profile_named
    from properties.survey.lines import chosen

    profile_named(options.profile)
    outputs = {name: getattr(options, name) for name in ("json", "page") if getattr(options, name)}
    compares = options.compare is not None and options.compare is not SURVEYED
    files.require(outputs, [options.compare] if compares else [])
    console = Console(highlight=False, soft_wrap=True)
    if options.inject:
        return inject(options, console)
    if compares:
        return compare_reported(options, console)
    failing: list[Failing] = []
    rows: list[Row] = []
    complete = True
    for line in chosen(options.only):
        if line.missing:
            console.print(f"{line.name}: not installed: {', '.join(line.missing)}", markup=False)
            continue
        rows.append(asked(line, options, failing))
        show(console, rows[-1])
        complete &= kept(rows, options)  # what is known stays, if a later one is interrupted
    complete &= drawn(rows, options)
    if options.compare is SURVEYED:
        compare(failing, None, options, console)
    if not rows or any(row.verdict == "refused" for row in rows):
        return CANNOT_ASK
    return 0 if complete else files.unwritten(0)


def inject(options: argparse.Namespace, console: Console) -> int:
    """0 every fault is told, 1 one is not, 2 something was refused, or nothing asked."""
    from properties.survey.injecting import Told
    from properties.survey.injecting import inject as put_in
    from properties.survey.lines import chosen

    found: list[Told] = []
    for line in chosen(options.only):
        if line.missing:
            console.print(f"{line.name}: not installed: {', '.join(line.missing)}", markup=False)
            continue
        with progress.shown(line.name) as tell:
            found.append(put_in(line, options.seed, options.timeout, named(line.name, tell)))
        console.print(f"{line.name}: {found[-1].words}", markup=False)
    if any(told.untold for told in found):
        return 1
    return CANNOT_ASK if not found or any(told.reason for told in found) else 0


def compare_reported(options: argparse.Namespace, console: Console) -> int:
    """0 every failure of a file is compared; 2 there is none, or one could not be."""
    from properties.survey.comparing import read

    failing = read(options.compare)
    return 0 if compare(failing, options.only, options, console) else CANNOT_ASK


def compare(
    failing: list[Failing], only: list[str] | None, options: argparse.Namespace, console: Console
) -> bool:
    """Whether each failure could be shown to others; only: the libraries that are asked."""
    from properties.survey import telling
    from properties.survey.comparing import compared
    from properties.survey.lines import chosen

    others = [line for line in chosen(only) if not line.missing]
    with progress.shown("comparing") as tell:
        found = compared(failing, others, options.timeout, lambda name: named(name, tell))
    for each in found:
        console.print()
        for text in telling.lines(each):
            console.print(text, markup=False)
    if not found:
        console.print("nothing failed: there is nothing to compare", markup=False)
    return bool(found) and all(each.call for each in found)


def asked(line: Line, options: argparse.Namespace, failing: list[Failing]) -> Row:
    """The row of one line; it is added to those that fail, if it does."""
    from properties.survey.asking import ask
    from properties.survey.comparing import Failing

    def arrived(report: Report) -> None:
        if report.wrong:
            failing.append(Failing.line(line, report))

    how = {"profile": options.profile, "seed": options.seed, "only": None}
    with progress.shown(line.name) as tell:
        return ask(line, how, options.timeout, named(line.name, tell), arrived)


def named(name: str, tell: Listener) -> Listener:
    """The progress of a line, by its name."""
    return lambda subject, phase, done, total: tell(name, phase, done, total)


def show(console: Console, row: Row) -> None:
    """A row in a line or two."""
    from properties.survey import page

    laws = f"; {row.holding} of {row.laws} laws hold" if row.laws else ""
    console.print(
        f"{row.library} {row.version}: {row.path}: {page.verdict(row)}{laws}", markup=False
    )


def kept(rows: list[Row], options: argparse.Namespace) -> bool:
    """Whether the rows could be written into the file for them, if there is one."""
    from properties.survey import document

    if options.json is None:
        return True
    text = document.as_json(content(rows, options)) + "\n"
    return files.written("json", options.json, partial(options.json.write_text, text, "utf-8"))


def drawn(rows: list[Row], options: argparse.Namespace) -> bool:
    """Whether the tables could be drawn, if there is a page for them."""
    from properties.survey import page

    if options.page is None:
        return True
    draw = partial(page.redraw, options.page, content(rows, options))
    return files.written("page", options.page, draw)


def content(rows: list[Row], options: argparse.Namespace) -> dict[str, Any]:
    """The rows, in the file with those that are there already."""
    from properties.survey import document
    from properties.survey.lines import lines

    there = options.json is not None and options.json.exists()
    old = document.rows(document.read(options.json)) if there else []
    order = [line.name for line in lines()]
    return document.document(document.renewed(old, rows, order), options.profile, options.seed)
