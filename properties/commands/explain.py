"""The command `explain`: one clause, its reason, and how it is usually broken."""

from __future__ import annotations

import argparse
from typing import Any


def register(commands: Any) -> None:
    """Add the command and its argument."""
    command = commands.add_parser("explain", help="one clause, with its reason and a picture")
    command.add_argument("clause", metavar="CLAUSE")
    command.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Print the clause's section at once, and the picture when it is there."""
    from properties.reports.specified import section

    print(section(options.clause), flush=True)
    from properties.reports.explanation import usually_broken  # it loads what runs the fault

    for line in usually_broken(options.clause):
        print(line, flush=True)
    return 0
