"""The command `accuracy`: the largest error that can be found, by format."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from properties.basics.errors import CANNOT_ASK, QuestionError
from properties.commands import arguments, files, progress

if TYPE_CHECKING:
    from properties.runs.accuracy import Accuracy
    from properties.runs.isolation import Isolated


def register(commands: Any) -> None:
    """Add the command and its options."""
    command = commands.add_parser(
        "accuracy",
        help="search for the largest rounding error, by format",
        description="Search for the input with the largest share of the error bound, and with the "
        "largest error in units in the last place of the largest value of its row.",
    )
    arguments.add_targets(command)
    arguments.add_conventions(command)
    arguments.add_given(command)
    command.add_argument(
        "--formats", nargs="+", metavar="FORMAT", help="float64, float32, bfloat16, float16"
    )
    command.add_argument(
        "--examples",
        type=arguments.count,
        default=1000,
        metavar="N",
        help="how many are tried in each format (default 1000)",
    )
    command.add_argument("--seed", type=int, default=0, help="the same seed finds the same")
    arguments.add_timeout(command)
    command.add_argument(
        "--json", type=Path, metavar="FILE", help="write what was found, with the cases in full"
    )
    command.add_argument("--page", type=Path, metavar="FILE", help="write a page with a table")
    command.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Search, print and write; 2 where a subject cannot be asked."""
    from properties.reports import accuracy as report
    from properties.runs.accuracy import LARGEST
    from properties.runs.remarks import versions

    require_formats(options.formats or ())
    outputs = {name: getattr(options, name) for name in ("json", "page") if getattr(options, name)}
    options.targets = arguments.named(options)
    files.require(outputs, arguments.sources(options.targets))
    found: list[Accuracy] = []
    refused: dict[str, str] = {}

    def search(isolated: Isolated, name: str) -> None:
        found.extend(isolated.accuracy(name, options.formats, options.examples, options.seed))

    with progress.shown(options.targets[0]) as tell:
        for target in options.targets:
            arguments.ask_each(target, options, tell, refused, search)
    for line in report.lines(found):
        print(line)
    for reason in refused.values():
        print(f"attention-properties: {reason}", file=sys.stderr)
    writers = {
        "json": lambda path: report.write(path, report.as_json(found)),
        "page": lambda path: report.write(
            path, report.page(found, words(options), LARGEST, versions())
        ),
    }
    complete = bool(found)
    for name, path in outputs.items() if found else ():
        complete &= files.written(name, path, partial(writers[name], path))
    return CANNOT_ASK if refused or not complete else 0


def words(options: argparse.Namespace) -> list[str]:
    """What was asked, and of what: targets and the options that change what is found."""
    given = {
        "--family": [options.family] if options.family else [],
        "--convention": options.convention,
        "--with": options.given,
    }
    named = [
        word for option, values in given.items() for value in values for word in (option, value)
    ]
    return [*options.targets, *named, *(["--formats", *options.formats] if options.formats else [])]


def require_formats(names: Iterable[str]) -> None:
    """QuestionError for a format that there is not."""
    from properties.basics.dtypes import FORMATS

    for name in names:
        if name not in FORMATS:
            raise QuestionError(f"no format {name!r}; expected one of {', '.join(FORMATS)}")
