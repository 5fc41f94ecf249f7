"""What becomes of a subject that is waited for in vain, where it is a program of its own.

In a process that was started for the subject, whoever started it is told, and that process ends: a law
must not be asked again and again of what hangs. Elsewhere an error is raised, a few times.
"""

from __future__ import annotations

from collections.abc import Callable

PATIENCE = 3  # times that a program may hang before it is not asked any more
_listeners: list[Callable[[str, str], None]] = []
_seconds = [60.0]


def listen(listener: Callable[[str, str], None]) -> None:
    """Have it told from now on how the program was lost, and what it last said; it need not return."""
    _listeners.append(listener)


def lost(how: str, advice: str) -> None:
    """Tell every listener."""
    for listener in _listeners:
        listener(how, advice)


def seconds() -> float:
    """How long an answer may take."""
    return _seconds[0]


def wait(limit: float) -> None:
    """So many seconds, from now on."""
    _seconds[0] = limit
