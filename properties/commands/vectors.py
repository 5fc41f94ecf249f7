"""The command `vectors`: calls of attention as files, for those who take files and no Python."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from properties.basics.errors import QuestionError


def register(commands: Any) -> None:
    """Add the command and its argument."""
    command = commands.add_parser(
        "vectors", help="write calls with right and wrong answers to DIR, as JSON for any language"
    )
    command.add_argument("folder", metavar="DIR", type=Path)
    command.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Write the folder and say so."""
    from properties.vectors.files import counts, write

    try:
        number = write(options.folder)
    except OSError as error:
        raise QuestionError(f"{options.folder} cannot be written: {error.strerror}") from error
    told = counts()
    print(f"{number} files in {options.folder}: {told['tests']} tests, {told['flags']} flags")
    flagged = told["named"] + told["alike"] + told["wide"]
    print(f"of the {told['zoo']} wrong implementations of the zoo {flagged} are flagged")
    return 0
