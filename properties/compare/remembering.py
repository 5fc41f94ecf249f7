"""A comparison that remembers on which cases the two sides differed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from properties.compare.outcome import Comparison
from properties.recognition.targets import name_of
from properties.runs.memory import Entry, Memory
from properties.subjects.subject import Subject


def remembering(
    memory: Memory, old: Any, new: Any, ask: Callable[[list[Entry]], Comparison]
) -> Comparison:
    """A comparison by `ask`, which is handed what is remembered of the pair, and of the new side alone;
    what differs is kept.
    """
    pair = f"{named(old)} -> {named(new)}"
    found = ask(memory.recall(pair) + memory.recall(named(new)))
    different = [
        {"clause" if change.clause else "compared": change.clause or change.kind}
        | {"counterexample": change.counterexample}
        for change in found.changes
        if change.counterexample
    ]
    found.notes.extend(memory.learn(pair, different, found.remembered))
    return found


def named(target: Any) -> str:
    """The name under which a target is remembered: that of its subject."""
    return (isinstance(target, Subject) and target.name) or name_of(target)
