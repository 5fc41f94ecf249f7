"""How a process was ended, and the end of all that it has started."""

from __future__ import annotations

import os
import signal
from contextlib import suppress


def signal_named(number: int) -> str:
    """SIGSEGV, or a number that has no name."""
    known = {one.value: one.name for one in signal.Signals}
    return known.get(number, f"signal {number}")


def end_group(group: int) -> None:
    """Kill what is left of a process group."""
    with suppress(ProcessLookupError, PermissionError):  # macOS says so of what was not waited for
        os.killpg(group, signal.SIGKILL)
