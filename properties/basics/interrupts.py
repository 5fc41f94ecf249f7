"""A user's Ctrl-C, told from a KeyboardInterrupt that the subject raises by itself."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_watches: list[bool] = []  # one for each watch that is kept: whether SIGINT came


@contextmanager
def watched() -> Iterator[None]:
    """Note whether SIGINT arrives while the body runs; only the main thread ever gets one."""
    before = signal.getsignal(signal.SIGINT)

    def noted(number: int, frame: FrameType | None) -> None:
        _watches[:] = [True] * len(_watches)
        if callable(before):
            before(number, frame)

    main = threading.current_thread() is threading.main_thread() and callable(before)
    if main:
        signal.signal(signal.SIGINT, noted)
    _watches.append(False)
    try:
        yield
    finally:
        _watches.pop()
        if main:
            signal.signal(signal.SIGINT, before)


def subjects_own(error: BaseException) -> BaseException:
    """The error, if the subject raised it; the user's own Ctrl-C is raised again.

    Where nobody watches, every KeyboardInterrupt is taken for the user's.
    """
    if isinstance(error, KeyboardInterrupt) and (not _watches or _watches[-1]):
        raise error
    return error
