"""The command line: each command is a file of `properties/commands`, found by being there."""

from __future__ import annotations

import argparse
import pkgutil
import sys
from collections.abc import Sequence
from importlib import import_module

import properties.commands as commands  # as it is, whatever a foreign __init__.py calls so
from properties.basics.errors import CANNOT_ASK, INTERRUPTED, QuestionError
from properties.basics.ownership import require_own
from properties.basics.streams import Patient, patient
from properties.basics.version import described


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    0 all laws that decide hold, 1 one does not, 2 the question could not be asked, or not answered
    in full, 130 interrupted.
    """
    options = parser().parse_args(arguments)
    with patient() as output:
        code = answered(options)
    return told(output, code)


def answered(options: argparse.Namespace) -> int:
    """The command's exit code; what is wrong is said in one message, without a traceback."""
    try:
        require_own()
        code: int = options.command(options)
        return code
    except QuestionError as error:
        print(f"attention-properties: {error}", file=sys.stderr)
        return CANNOT_ASK
    except KeyboardInterrupt:
        print("attention-properties: interrupted; there is no verdict", file=sys.stderr)
        return INTERRUPTED


def told(output: Patient, code: int) -> int:
    """The exit code, where standard output may have failed; a reader that has left is content."""
    if output.error is None or isinstance(output.error, BrokenPipeError):
        return code
    reason = output.error.strerror
    print(f"attention-properties: standard output cannot be written: {reason}", file=sys.stderr)
    return code or CANNOT_ASK


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    top = argparse.ArgumentParser(
        prog="attention-properties", description="Is this attention right? Ask in seconds."
    )
    top.add_argument("--version", action="version", version=described())
    known = top.add_subparsers(required=True, metavar="COMMAND")
    for found in pkgutil.iter_modules(commands.__path__):
        module = import_module(f"properties.commands.{found.name}")
        if hasattr(module, "register"):
            module.register(known)
    return top
