"""The command `explain`: one clause, with its reason."""

from __future__ import annotations

import argparse
from typing import Any


def register(commands: Any) -> None:
    """Add the command and its argument."""
    command = commands.add_parser("explain", help="one clause, with its reason")
    command.add_argument("clause", metavar="CLAUSE")
    command.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Print the clause's section."""
    from properties.report.specification import explain

    print(explain(options.clause))
    return 0
