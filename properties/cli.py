"""The command line: each command is a file of `properties/commands`, found by being there."""

from __future__ import annotations

import argparse
import pkgutil
import sys
from collections.abc import Sequence
from importlib import import_module

from properties import commands
from properties.errors import CANNOT_ASK, QuestionError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 all MUST clauses hold, 1 one does not, 2 the question could not be asked."""
    options = parser().parse_args(arguments)
    try:
        code: int = options.command(options)
        return code
    except QuestionError as error:
        print(f"attention-properties: {error}", file=sys.stderr)
        return CANNOT_ASK


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    top = argparse.ArgumentParser(
        prog="attention-properties", description="Is this attention right? Ask in seconds."
    )
    known = top.add_subparsers(required=True, metavar="COMMAND")
    for found in pkgutil.iter_modules(commands.__path__):
        module = import_module(f"properties.commands.{found.name}")
        if hasattr(module, "register"):
            module.register(known)
    return top
