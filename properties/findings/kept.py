"""A subject that stands in for another one, and is asked what that one would be."""

from __future__ import annotations

from typing import Any

from properties.subjects.subject import Config, Subject
from properties.truth.parameters import Weights


class Kept(Subject):
    """A subject like another one: what it takes, its conventions, its limits, whatever is known of it."""

    def __init__(self, original: Subject) -> None:
        self.original = original
        for name in Subject.__annotations__:
            setattr(self, name, getattr(original, name))

    def build(self, config: Config, weights: Weights | None) -> Any:
        """What the other one builds."""
        return self.original.build(config, weights)
