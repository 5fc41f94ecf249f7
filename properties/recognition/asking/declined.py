"""Calls that a function itself says it does not support: they are not asked, and told."""

from __future__ import annotations

import re

from properties.basics.errors import DeclinedError, OutsideError
from properties.subjects.instance import describe

# A TypeError that says so is of wrong operands, as in "'<' not supported between instances of".
SAYS_SO = re.compile(
    r"^(?!TypeError).*(not?\W+(\w+\W+){0,2}(supported|implemented)|only supported|NotImpl|"
    r"no available kernel)",
    re.IGNORECASE | re.DOTALL,
)


def require_support(error: BaseException) -> None:
    """DeclinedError where what a function raises says that it does not support the call."""
    if isinstance(error, OutsideError):
        return
    said = describe(error)
    if isinstance(error, Exception) and SAYS_SO.search(said):
        raise DeclinedError(f"it raised {said}") from error
