"""The files that options name: known to be writable before the work, each written on its own."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from properties.basics.errors import CANNOT_ASK, QuestionError


def require(files: Mapping[str, Path], read: Iterable[Path] = ()) -> None:
    """QuestionError unless every option's file can be written, is no other's, and is not read."""
    for option, path in files.items():
        require_writable(option, path)
    options = list(files)
    for number, option in enumerate(options):
        for other in options[:number]:
            if same(files[option], files[other]):
                raise QuestionError(
                    f"--{other} {files[other]} and --{option} {files[option]} are one file, of which "
                    "the second would overwrite the first; name two"
                )
        for path in read:
            if same(files[option], path):
                raise QuestionError(
                    f"--{option} {files[option]} would overwrite {path}, which is read; name another"
                )


def require_writable(option: str, path: Path) -> None:
    """A report that cannot be written should be known before the work, not after it."""
    try:
        if path.is_dir() or not path.parent.is_dir():
            raise QuestionError(f"--{option} {path}: not a file in an existing folder; name one")
        attempt(path)
    except OSError as error:
        raise QuestionError(
            f"--{option} {path}: may not be written ({error.strerror}); name another file"
        ) from error


def attempt(path: Path) -> None:
    """Open the file as if to write, and leave all as it was; OSError where it cannot be written."""
    there = path.exists()
    if there and not stat.S_ISREG(path.stat().st_mode) and not path.is_char_device():
        if not os.access(path, os.W_OK):  # a pipe: opening it would wait for a reader
            raise PermissionError(0, "permission denied")
        return
    opened = os.open(path, os.O_WRONLY | os.O_APPEND | (0 if there else os.O_CREAT), 0o666)
    try:
        os.write(opened, b"")  # a device that is full says so even then
    finally:
        os.close(opened)
        if not there:
            os.unlink(os.path.realpath(path))


def same(one: Path, other: Path) -> bool:
    """Whether two paths are one file, now or once it is written."""
    if one.exists() and other.exists():
        return one.samefile(other)
    return os.path.realpath(one) == os.path.realpath(other)


def written(option: str, path: Path, write: Callable[[], object]) -> bool:
    """Whether a file could be written; what went wrong is said, and the caller goes on."""
    try:
        write()
    except Exception as error:  # a full disk, or a text that the file cannot hold
        reason = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
        print(
            f"attention-properties: --{option} {path} could not be written: {reason}; whatever else "
            "was asked for is",
            file=sys.stderr,
        )
        return False
    return True


def unwritten(code: int) -> int:
    """The exit code where a file could not be written: a law that does not hold weighs more."""
    return 1 if code == 1 else CANNOT_ASK
