"""Functions that are told segments twice: of their queries, and of their keys."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class SegmentsTwice:
    """A function that gets the segments of queries as those of keys, too, of which there are as many.

    queries, keys: the arguments for them.
    """

    function: Callable[..., Any]
    queries: str
    keys: str
    __wrapped__: Callable[..., Any] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Let its own documentation and source be found."""
        object.__setattr__(self, "__doc__", self.function.__doc__)
        object.__setattr__(self, "__wrapped__", self.function)

    def __call__(self, *parts: Any, **options: Any) -> Any:
        """What the function returns."""
        told = {self.keys: options[self.queries]} if self.queries in options else {}
        return self.function(*parts, **options, **told)
