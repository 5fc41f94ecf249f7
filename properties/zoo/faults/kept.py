"""Faults of a context that is kept: modules of the wide zoo, each with the law that tells it."""

from __future__ import annotations

from properties.zoo.faults import fault
from properties.zoo.wide import held_ones

KEPT = "cache/kept-context-answers-as-the-context"
MASKED = "cache/mask-of-a-kept-context-hides"
ANOTHER = "cache/another-context-answers-by-itself"

BREAKS = {
    "kept-beside-x": (KEPT, "cross"),
    "kept-of-the-first-item": (KEPT, "encoder"),
    "kept-mask-dropped": (MASKED, "encoder"),
    "kept-and-appended-to": (MASKED, "cross"),
    "kept-used-unasked": (ANOTHER, "cross"),
    "kept-after-a-reset": (ANOTHER, "cross"),
}
"""By the name of the wrong module: what it breaks, and its family."""

for _name, (_law, _family) in BREAKS.items():
    _held = held_ones()[_name]
    fault(_name, _law, symptom=_held.symptom, source=_held.source, family=_family)(_held.target)
