"""The command `judge`: a function that nobody has read, by what it claims."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from properties.commands import arguments, files


def register(commands: Any) -> None:
    """Add the command and its options."""
    command = commands.add_parser(
        "judge", help="judge a function that nobody has read, such as a generated kernel"
    )
    command.add_argument("candidate", metavar="FILE:NAME")
    command.add_argument(
        "--spec", type=Path, required=True, metavar="FILE", help="what it claims, as TOML or JSON"
    )
    command.add_argument(
        "--seed", type=int, help="draw the questions of an earlier judgement again"
    )
    command.add_argument(
        "--timeout",
        type=arguments.positive,
        default=60.0,
        metavar="S",
        help="seconds for a call (default 60)",
    )
    command.add_argument(
        "--json", type=Path, metavar="FILE", help="write the judgement as JSON too"
    )
    command.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Print the judgement; 0 where it is right."""
    from properties.judging.judge import judge_all
    from properties.judging.spec import read

    if options.json:
        given = [options.spec, *arguments.sources([options.candidate])]
        files.require({"json": options.json}, given)
    (found,) = judge_all([options.candidate], read(options.spec), options.seed, options.timeout)
    print(found)
    code = 0 if found.right else 1
    text = json.dumps(found.to_dict(), indent=1) + "\n"
    if options.json and not files.written(
        "json", options.json, lambda: options.json.write_text(text)
    ):
        return files.unwritten(code)
    return code
