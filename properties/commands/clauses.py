"""The command `clauses`: the specification as a table."""

from __future__ import annotations

import argparse
from typing import Any


def register(commands: Any) -> None:
    """Add the command."""
    command = commands.add_parser("clauses", help="the specification as a table")
    command.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Print the table."""
    from rich.console import Console

    from properties.reports.specified import table

    Console(highlight=False).print(table())
    return 0
