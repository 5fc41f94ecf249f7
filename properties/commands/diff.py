"""The command `diff`: what a refactor changed, printed and written."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from properties.commands import arguments, files, progress


def register(commands: Any) -> None:
    """Add the command and its options."""
    command = commands.add_parser(
        "diff",
        help="compare an implementation with its refactored version",
        description="What changed between OLD and NEW, on the same weights and inputs. Exit code: "
        "0 nothing beyond rounding, 1 something, 2 they could not be compared.",
    )
    for name in ("old", "new"):
        command.add_argument(name, metavar=name.upper(), help="a target as for `check`")
    command.add_argument(
        "--family",
        help="plain, self, causal, wrapper, multihead, encoder or cross; that of OLD if not said",
    )
    command.add_argument(
        "--mapping",
        nargs="+",
        metavar="OLD=NEW",
        help="parameters or parts that are named anew, or a TOML file of them; layers with names "
        "such as W_query, q_proj or qkv are found without",
    )
    arguments.add_conventions(command)
    arguments.add_given(command)
    arguments.add_run(command)
    arguments.add_database(command)
    command.add_argument("--json", type=Path, metavar="FILE", help="write the comparison as JSON")
    command.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Compare, print and write."""
    from properties.compare.isolated import compare_isolated
    from properties.compare.mapping import parse
    from properties.compare.remembering import remembering
    from properties.reports import comparison as report
    from properties.runs.memory import opened
    from properties.spec.profiles import profile_named
    from properties.subjects.declaring import parse as declared

    profile_named(options.profile)
    memory = opened(options.database)
    if options.json:
        files.require({"json": options.json}, arguments.sources((options.old, options.new)))
    request = {
        "old": options.old,
        "new": options.new,
        "mapping": parse(options.mapping) if options.mapping else None,
        "family": options.family,
        "profile": options.profile,
        "seed": options.seed,
        "only": options.only,
        "conventions": declared(options.convention) or None,
        "given": options.given,
    }
    with progress.shown("diff") as tell:

        def ask(entries: list[Any]) -> Any:
            return compare_isolated(
                {**request, "remembered": entries},
                options.timeout,
                lambda phase, done, total: tell(phase.partition(" ")[0], phase, done, total),
            )

        found = remembering(memory, options.old, options.new, ask)
    report.show(found, Console(highlight=False, soft_wrap=False))
    write = partial(report.write, found, options.json)
    if options.json and not files.written("json", options.json, write):
        return files.unwritten(found.exit_code)
    return found.exit_code
