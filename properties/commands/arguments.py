"""What several commands take, and the exit code they share."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from properties.basics.errors import CANNOT_ASK, QuestionError

if TYPE_CHECKING:
    from properties.commands.progress import Listener
    from properties.runs.isolation import Isolated
    from properties.runs.result import Report


def add_targets(command: argparse.ArgumentParser) -> None:
    """TARGET, the implementations to ask about."""
    command.add_argument(
        "targets",
        nargs="*",
        metavar="TARGET",
        help="package.module:Name, path/to/file.py:Name or path/to/notebook.ipynb:Name; "
        "without a name, every attention class in it",
    )
    command.add_argument(
        "--process",
        action="append",
        default=[],
        metavar="CMD",
        help="a program in any language that answers calls by the protocol of docs/protocol.md; as a "
        "TARGET it is process:CMD",
    )
    command.add_argument(
        "--family",
        help="plain, self, causal, wrapper, multihead, encoder or cross; found if not said",
    )


def named(options: argparse.Namespace) -> list[str]:
    """The targets, each once; QuestionError where there is none."""
    targets = [*options.targets, *(f"process:{command}" for command in options.process)]
    if not targets:
        raise QuestionError("name what is to be asked: a TARGET, or --process 'CMD'")
    return list(dict.fromkeys(targets))


def sources(targets: Iterable[str]) -> list[Path]:
    """The files that targets name, where they name any: nothing may be written over these."""
    return [Path(target.rpartition(":")[0] or target) for target in targets]


def add_conventions(command: argparse.ArgumentParser) -> None:
    """What is declared of masks, windows and the like."""
    command.add_argument(
        "--convention",
        action="append",
        default=[],
        metavar="NAME=ANSWER",
        help="hold it to this convention, whatever is found: mask=hide, say; an unknown one lists all",
    )


def add_given(command: argparse.ArgumentParser) -> None:
    """Values for what has no known meaning."""
    command.add_argument(
        "--with",
        dest="given",
        action="append",
        default=[],
        metavar="'NAME=VALUE ...'",
        help="values for arguments of a constructor, or settings that it reads, without a known "
        "meaning: 'layers=4 norm=\"rms\"'",
    )


def add_run(command: argparse.ArgumentParser) -> None:
    """How much is asked, and when to give up."""
    command.add_argument("--profile", default="ci", help="quick, ci (default) or thorough")
    command.add_argument("--seed", type=int, default=0, help="the same seed gives the same verdict")
    command.add_argument("--only", nargs="+", metavar="CLAUSE", help="clauses or areas, by id")
    add_timeout(command)


def add_database(command: argparse.ArgumentParser) -> None:
    """Where failures are remembered."""
    which = command.add_mutually_exclusive_group()
    which.add_argument(
        "--database",
        default=True,
        metavar="PLACE",
        help="where failing cases are kept, to be asked first the next time: a folder (default "
        ".hypothesis), redis://HOST:PORT/0, or github:OWNER/REPOSITORY (read only)",
    )
    which.add_argument(
        "--no-database",
        dest="database",
        action="store_false",
        help="remember nothing, and ask nothing that is remembered",
    )


def add_timeout(command: argparse.ArgumentParser) -> None:
    """When to give up."""
    command.add_argument(
        "--timeout",
        type=positive,
        default=60.0,
        metavar="SECONDS",
        help="end the subject when one step of the check takes longer (default 60)",
    )


def positive(text: str) -> float:
    """A number of seconds above zero."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return value


def count(text: str) -> int:
    """A whole number, at least one."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number, 1 or more")
    return int(text)


def ask_each(
    target: str,
    options: argparse.Namespace,
    tell: Listener,
    refused: dict[str, str],
    ask: Callable[[Isolated, str], None],
) -> None:
    """Ask of each subject of a target, in a process of its own; refused: why others have none."""
    from properties.runs.isolation import Isolated
    from properties.subjects.declaring import parse

    with Isolated(
        target,
        options.family,
        options.timeout,
        progress=tell,
        conventions=parse(options.convention),
        given=options.given,
    ) as isolated:
        isolated.survey()
        refused |= isolated.refused
        for name in list(isolated.clauses):
            try:
                ask(isolated, name)
            except QuestionError as error:
                refused[name] = str(error)


def exit_code(reports: Iterable[Report], refused: Mapping[str, str]) -> int:
    """The worst of the reports; why a subject was refused goes to standard error."""
    for reason in refused.values():
        print(f"attention-properties: {reason}", file=sys.stderr)
    codes = {report.exit_code for report in reports} | ({CANNOT_ASK} if refused else set())
    return 1 if 1 in codes else max(codes, default=CANNOT_ASK)
