"""Programs that answer the protocol, written by tests."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from pathlib import Path

Saying = Callable[..., str]


def python(path: Path) -> str:
    """What runs a program in Python."""
    return f"{shlex.quote(sys.executable)} {shlex.quote(str(path))}"


def saying_in(folder: Path) -> Saying:
    """A function that makes a program of the body of a loop over messages, and gives its command."""

    def made(*body: str) -> str:
        lines = [
            "import json, os, sys, time",
            "hello = {'protocol': 1}",
            "for line in sys.stdin:",
            "    m = json.loads(line)",
            "    say = lambda **a: print(json.dumps({'id': m['id'], **a}), flush=True)",
            *(f"    {line}" for line in body),
        ]
        path = folder / "said.py"
        path.write_text("\n".join(lines), encoding="utf-8")
        return python(path)

    return made
