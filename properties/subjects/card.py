"""The card of a subject: what it is taken for, what a call may be told, and its conventions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from properties.subjects.call import CONCERNS, lacking
from properties.subjects.subject import FAMILIES, Subject


@dataclass(frozen=True)
class Card:
    """What is known of a subject before it is asked anything.

    why: why it is of this family; takes: the argument for each key of `ROLES`, "" where none is
    needed; conventions: see `conventions_of`; dropout: the argument for it, "" if there is none;
    limits: what it cannot take, found by trying.
    """

    subject: str
    family: str
    why: str
    takes: dict[str, str] = field(default_factory=dict)
    conventions: dict[str, dict[str, str]] = field(default_factory=dict)
    dropout: str = ""
    dtypes: list[str] = field(default_factory=list)
    matched: dict[str, str] = field(default_factory=dict)
    unasked: dict[str, str] = field(default_factory=dict)
    lacking: dict[str, str] = field(default_factory=dict)
    limits: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, that `Card(**data)` reads."""
        return asdict(self)


def card(subject: Subject, limits: Sequence[str] = ()) -> Card:
    """The card of a subject."""
    return Card(
        subject=subject.name,
        family=subject.family,
        why=why(subject),
        takes=dict(subject.takes),
        conventions=conventions_of(subject),
        dropout=subject.matched.get("dropout", "") if subject.has("dropout") else "",
        dtypes=list(subject.dtypes),
        matched=dict(subject.matched),
        unasked=dict(subject.unasked),
        lacking=dict(subject.lacking),
        limits=list(limits),
        notes=list(subject.notes),
    )


def why(subject: Subject) -> str:
    """Why it is taken to be of its family."""
    text = FAMILIES[subject.family]
    if "--family" in subject.options:
        return f"{text}; --family says so"
    if doubt := next((note for note in subject.notes if note.startswith("taken as ")), ""):
        return f"{text}; {doubt}"
    if argument := subject.matched.get("causal"):
        return f"{text}; {argument} hides the future"
    return text


def conventions_of(subject: Subject) -> dict[str, dict[str, str]]:
    """The answer to each convention that concerns the subject, and how it was found.

    answer: one of `ANSWERS`, "" where none of them fits; found: see `call.ORIGINS`, "" where that is not
    known. The order of axes is called layout, how a past is kept cache, how positions turn queries and
    keys rotary, and the widths of heads that a function takes head_dim.
    """
    found = {}
    for name in CONCERNS:
        answer = getattr(subject.conventions, name)
        if answer or not lacking(name, subject.takes):
            found[name] = {"answer": answer, "found": subject.origins.get(name, "")}
    if subject.positions is not None:
        found["rotary"] = {"answer": subject.positions.words, "found": "trial"}
    if subject.has("placed"):
        found["context"] = {"answer": f"turned {subject.placed}", "found": "trial"}
    if subject.layout:
        found["layout"] = {"answer": subject.layout, "found": "trial"}
    if subject.bare and subject.limits.widths:
        found["head_dim"] = {"answer": subject.limits.widths, "found": "trial"}
    if subject.cache:
        found["cache"] = {"answer": subject.cache, "found": subject.origins.get("cache", "trial")}
    return found
