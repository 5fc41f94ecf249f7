"""What the subject is made to do just now, for whoever has to say where it was lost.

A process may end, crash or hang in any of it. A phrase that is told continues a sentence: "while
constructing Wrong", "in forward".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

_listeners: list[Callable[[str], None]] = []
_phrases: list[str] = []


def listen(listener: Callable[[str], None]) -> None:
    """Have the phrase told from now on, "" where nothing is done with the subject."""
    _listeners.append(listener)


@contextmanager
def doing(phrase: str) -> Iterator[None]:
    """Tell what the body does, and afterwards again what it was part of."""
    if not _listeners:
        yield
        return
    _phrases.append(phrase)
    tell()
    try:
        yield
    finally:
        _phrases.pop()
        tell()


def tell() -> None:
    """The innermost phrase to every listener."""
    for listener in _listeners:
        listener(_phrases[-1] if _phrases else "")
