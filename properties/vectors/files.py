"""The folder of vectors: a file for each group, and what those need who take it away."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import cache
from hashlib import sha256
from importlib.resources import files
from pathlib import Path

import numpy as np

from properties.basics.dtypes import FORMATS
from properties.vectors.groups import Group, groups
from properties.vectors.notes import flag_of, note
from properties.vectors.right import WIDEST
from properties.vectors.selection import CLEAR, Fault, faults_of
from properties.vectors.shown import of_the_zoo
from properties.vectors.slopes import WrongSlopes, wrong_slopes
from properties.vectors.vector import Vector
from properties.vectors.written import Json, test, text

VERSION = "1.0.0"
TAKEN = ("LICENSE", "README.md", "schema.json")
"""What stands beside the vectors, in `taken`."""
FEW = 2  # vectors that show a fault clearly in the widest format

Faults = list[Fault | WrongSlopes]


def write(folder: Path) -> int:
    """Write every file; returns how many. OSError where that cannot be done."""
    folder.mkdir(parents=True, exist_ok=True)
    made = contents()
    for name, words in made.items():
        (folder / name).write_text(words, encoding="utf-8", newline="\n")
    return len(made)


@cache
def contents() -> dict[str, str]:
    """Every file by its name, the sums of all of them last."""
    taken = files("properties.vectors") / "taken"
    found = {name: (taken / name).read_text(encoding="utf-8") for name in TAKEN}
    said = {"FLAGS": "\n".join(table()), "UNCLEAR": "\n".join(unclear()), "VERSION": VERSION}
    for name, value in (said | counts()).items():
        found["README.md"] = found["README.md"].replace(f"{{{name}}}", str(value))
    found |= {f"{group.name}.json": of_group(group) for group in groups()}
    sums = [f"{sha256(found[name].encode()).hexdigest()}  {name}" for name in sorted(found)]
    return found | {"SHA256SUMS": "\n".join(sums) + "\n"}


def counts() -> dict[str, int]:
    """How many tests and flags, and what is told of the zoo: see `of_the_zoo`."""
    every = [vector for group in groups() for vector in group.vectors]
    flags = {fault.flag for vector in every for fault in flagged()[vector.number]}
    return {"tests": len(every), "flags": len(flags)} | of_the_zoo()


def of_group(group: Group) -> str:
    """One file."""
    tests, told = [], set()
    for vector in group.vectors:
        shown = flagged()[vector.number]
        told |= {fault.flag for fault in shown}
        tests.append(test(vector, shown))
    head: dict[str, Json] = {
        "$schema": "schema.json",
        "version": VERSION,
        "group": group.name,
        "about": group.about,
        "conventions": group.conventions,
        "notes": {flag_of(name): of_note(name) for name in sorted(told)},
    }
    return text(head, tests)


def of_note(name: str) -> Json:
    """What is told of a flag."""
    known = note(name)
    return {"kind": known.kind, "effect": known.effect, "sources": list(known.sources)}


@cache
def all_faults() -> dict[int, Faults]:
    """What each vector tells apart in float32 at least, by its number."""
    found: dict[int, Faults] = {}
    for group in groups():
        for vector in group.vectors:
            found[vector.number] = told_by(vector)
    return found


def told_by(vector: Vector) -> Faults:
    """What one vector tells apart."""
    if vector.refused:
        return []
    if vector.upstream is not None:
        return list(wrong_slopes(vector))
    return list(faults_of(vector, vector.right))


@cache
def flagged() -> dict[int, Faults]:
    """The faults that each vector is flagged with.

    Those that are clear in every format; those that are clear in float32, where the widest format claims
    nothing, or where there are too few vectors of the first kind.
    """
    number = Counter(
        fault.flag
        for group in groups()
        for vector in group.vectors
        if not group.empty  # where a NaN makes many things clear
        for fault in all_faults()[vector.number]
        if fault.apart[WIDEST] >= CLEAR
    )
    return {
        vector.number: [
            fault
            for fault in all_faults()[vector.number]
            if fault.apart[WIDEST] >= CLEAR or number[fault.flag] < FEW or silent(vector)
        ]
        for group in groups()
        for vector in group.vectors
    }


def silent(vector: Vector) -> bool:
    """Whether nothing is claimed of its output in the widest format."""
    if vector.refused or vector.upstream is not None:
        return False
    return bool(np.isinf(vector.right.bounds[WIDEST]["output"]).any())


@cache
def unclear_ones() -> dict[str, float]:
    """The faults that no vector shows clearly in the widest format, and by how many bounds at most."""
    best: dict[str, float] = {}
    for faults in all_faults().values():
        for fault in faults:
            best[fault.flag] = max(best.get(fault.flag, 0.0), fault.apart[WIDEST])
    return {name: bounds for name, bounds in sorted(best.items()) if bounds < CLEAR}


def table() -> Iterator[str]:
    """Every flag, its kind and the vectors that have it."""
    carried: dict[str, list[int]] = {}
    for number, faults in sorted(flagged().items()):
        for name in dict.fromkeys(fault.flag for fault in faults):
            carried.setdefault(name, []).append(number)
    for name, numbers in sorted(carried.items(), key=lambda item: (note(item[0]).kind, item[0])):
        few = ", ".join(map(str, numbers[:4])) + (", ..." if len(numbers) > 4 else "")
        yield f"| {flag_of(name)} | {note(name).kind} | {note(name).effect} | {few} |"


def unclear() -> Iterator[str]:
    """What the widest format cannot tell."""
    for name in unclear_ones():
        clear = [
            dtype
            for dtype in FORMATS
            if any(
                fault.flag == name and fault.apart[dtype] >= CLEAR
                for faults in flagged().values()
                for fault in faults
            )
        ]
        yield f"- {flag_of(name)}: clear in {', '.join(clear)}"
