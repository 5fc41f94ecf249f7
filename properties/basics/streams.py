"""Standard output to which a command goes on writing when nobody can take it any more.

A reader such as `head` may have left, a disk be full. The exit code and the files that were asked
for are still to come then, so the error is kept until the end.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO, cast


class Patient:
    """A text stream that keeps the first error of writing and drops what comes after it."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.error: OSError | None = None

    def write(self, text: str) -> int:
        """Write the text, while that works."""
        self.attempt(lambda: self.stream.write(text))
        return len(text)

    def flush(self) -> None:
        """Have it out, while that works."""
        self.attempt(self.stream.flush)

    def attempt(self, act: Any) -> None:
        """Do it unless it has failed before."""
        if self.error is None:
            try:
                act()
            except OSError as error:
                self.error = error

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextmanager
def patient() -> Iterator[Patient]:
    """Standard output in the body; nothing that it cannot encode ends a command either."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    before, output = sys.stdout, Patient(sys.stdout)
    sys.stdout = cast(TextIO, output)
    try:
        yield output
    finally:
        output.flush()
        sys.stdout = before
        if output.error is not None:
            leave(before)


def leave(stream: TextIO) -> None:
    """What is left in the stream goes nowhere: the interpreter would complain of it at its end."""
    with suppress(OSError, ValueError):  # no file at all, as in a test
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
