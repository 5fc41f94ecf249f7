"""A comparison that remembers on which cases the two sides differed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from properties.compare.outcome import Comparison
from properties.runs.memory import Entry, Memory, pair_name, spelled


def remembering(
    memory: Memory, old: Any, new: Any, ask: Callable[[list[Entry]], Comparison]
) -> Comparison:
    """A comparison by `ask`, which is handed what is remembered of the pair, and of the new side alone;
    what differs is kept.
    """
    name = pair_name(old, new)
    of_new = memory.recall(new if isinstance(new, str) else spelled(new))
    found = ask(memory.recall(name) + of_new)
    different = [
        {"clause" if change.clause else "compared": change.clause or change.kind}
        | {"counterexample": change.counterexample}
        for change in found.changes
        if change.counterexample
    ]
    own = [entry for entry in found.remembered if entry not in of_new]
    found.notes.extend(memory.learn(name, different, own))
    return found
