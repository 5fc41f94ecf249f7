"""Where an implementation is defined, and a hash that changes when its text does."""

from __future__ import annotations

import functools
import hashlib
import inspect
from pathlib import Path
from typing import Any

FOREIGN = ("builtins", "abc", "typing", "torch", "properties.subjects.subject")
"""Modules whose text is no part of an implementation: their versions are reported."""


def source_of(target: Any) -> dict[str, Any]:
    """The file, line and sha256 of a class, function or subject; empty where it has no text.

    The hash is of the whole file, and of those of the classes that it inherits from: helpers beside
    a class count, helpers that it imports do not.
    """
    if isinstance(target, functools.partial):
        target = target.func
    target = inspect.unwrap(target)
    if not (inspect.isclass(target) or inspect.isroutine(target)):
        target = type(target)
    texts: dict[str, str] = {}
    place: dict[str, Any] = {}
    for part in inspect.getmro(target) if inspect.isclass(target) else (target,):
        if foreign(part):
            continue
        try:
            lines, start = inspect.findsource(part)
            file = inspect.getsourcefile(part) or inspect.getfile(part)
        except (OSError, TypeError):  # compiled, or typed at a prompt
            continue
        texts[file] = "".join(lines)
        place = place or {"file": short(file), "line": start + 1}
    if not place:
        return {}
    return {**place, "sha256": hashlib.sha256("\n".join(texts.values()).encode()).hexdigest()}


def foreign(part: Any) -> bool:
    """Whether it comes from Python, from torch or from the base class of all subjects."""
    module = getattr(part, "__module__", None) or "builtins"
    return any(module == name or module.startswith(f"{name}.") for name in FOREIGN)


def short(file: str) -> str:
    """A path from the working directory where the file lies in it; a notebook's has brackets."""
    path = Path(file.strip("<>"))
    if path.is_absolute() and path.is_relative_to(Path.cwd()):
        path = path.relative_to(Path.cwd())
    return path.as_posix()
