"""The options of `check` about waivers."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from properties.basics.errors import QuestionError

if TYPE_CHECKING:
    from properties.runs.result import Report


def add(command: argparse.ArgumentParser) -> None:
    """Add the options."""
    command.add_argument(
        "--waivers", type=Path, metavar="FILE", help="failures that are accepted (waivers.toml)"
    )
    command.add_argument(
        "--accept",
        action="store_true",
        help="add what fails now to the waivers' FILE; needs --reason",
    )
    command.add_argument("--reason", metavar="TEXT", help="why it is accepted")


def file(options: argparse.Namespace) -> str | None:
    """The file to read, if any; QuestionError for options that do not go together."""
    reason = (options.reason or "").strip()
    if options.accept and not (options.waivers and reason):
        raise QuestionError("--accept needs --waivers FILE, to write to, and --reason TEXT")
    if options.reason is not None and not options.accept:
        raise QuestionError("--reason says why a failure is accepted; it goes with --accept")
    if options.statement and options.fail_fast:
        raise QuestionError("--statement states every verdict, which --fail-fast leaves open")
    new = options.accept and not options.waivers.exists()
    return None if options.waivers is None or new else str(options.waivers)


def accept(options: argparse.Namespace, reports: Sequence[Report]) -> None:
    """With --accept, add a waiver for each failed MUST clause, and say so."""
    if not options.accept:
        return
    from properties.runs import waivers

    found = list(waivers.accepted(reports, options.reason.strip()))
    if not found:
        print(f"nothing failed that could be accepted; {options.waivers} is left as it is")
        return
    waivers.append(options.waivers, found)
    print(f"{len(found)} accepted in {options.waivers}: {waivers.listed(w.clause for w in found)}")
    print("Run again without --accept for the verdict with it.")
