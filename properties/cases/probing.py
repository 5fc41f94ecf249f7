"""What the subject was asked last: a clause builds probes of its own from the case that was drawn.

A report names it beside the drawn case, whose sizes and format may be others than its message tells of.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

from properties.truth.parameters import Sizes

_last: ContextVar[tuple[Sizes, str] | None] = ContextVar("probe", default=None)


def note(sizes: Sizes | None, dtype: str = "") -> None:
    """The subject is asked with these sizes in this format; None: it has not been asked yet."""
    _last.set(None if sizes is None else (sizes, dtype))


def other_than(sizes: Sizes, dtype: str) -> dict[str, Any] | None:
    """What it was asked last as plain data; None where that is what is given here, or nothing."""
    last = _last.get()
    if last in (None, (sizes, dtype)):
        return None
    return {"sizes": last[0].data(), "dtype": last[1]}
