"""What is finished of a campaign, on disk: a line of JSON for each piece, written whole or not at all."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from properties.basics.errors import QuestionError

Piece = Mapping[str, Any]
Line = dict[str, Any]


def key(piece: Piece) -> str:
    """What tells one piece from another: all that it is asked with."""
    return json.dumps(piece, sort_keys=True)


class Journal:
    """The file of results, held by one campaign at a time; `lines` are those of finished pieces."""

    def __init__(self, path: Path) -> None:
        """Read what is there. A line that was cut off in the middle is dropped: its piece is asked again.

        QuestionError where the file cannot be written, is no journal, or is held by another campaign.
        """
        try:
            self.file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
        except OSError as error:
            raise QuestionError(f"{path}: may not be written ({error.strerror})") from error
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self.file)
            raise QuestionError(
                f"{path}: another campaign is writing it; wait for its end"
            ) from error
        self.lines = self.read(path)

    def read(self, path: Path) -> dict[str, Line]:
        """The finished pieces by key."""
        text = path.read_bytes()
        whole = text.rfind(b"\n") + 1
        if whole < len(text):
            os.ftruncate(self.file, whole)
        try:
            lines = [json.loads(line) for line in text[:whole].splitlines()]
            return {key(line["piece"]): line for line in lines}
        except (KeyError, TypeError, ValueError) as error:
            self.close()
            raise QuestionError(
                f"{path}: not the results of a campaign ({error}); name another file by --results"
            ) from error

    def add(self, line: Line) -> None:
        """One more finished piece: in one write, and on the disk when this returns."""
        os.write(self.file, (json.dumps(line) + "\n").encode())
        os.fsync(self.file)
        self.lines[key(line["piece"])] = line

    def close(self) -> None:
        """Let another campaign have the file."""
        os.close(self.file)

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.close()
