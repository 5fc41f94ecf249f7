"""Clauses x faults as one JSON document of the schema attention-properties/faults/1.

    schema, profile, seed, full    what was asked; full: every clause alone on every fault
    clauses: [{id, level, kills, alone}]
        kills: names of faults; alone: those that no other clause kills ([] unless full)
    faults: [{fault, area, family, symptom, source, names, first, alone, findings}]
        area: the file that holds it; names: clauses that it is said to break
        first: {clause, level, examples, seconds, size: {B, T, H, D}}, null if it survived
        alone: {clause id: examples}, those that fail asked by themselves
        findings: what a report tells of it, each by its name or its first clause ([] unless full)
    survivors, idle    names of faults that live, ids of clauses that kill nothing
    holds              whether both are empty, and no fault is told as several findings without a reason

Nothing but `seconds` differs between two runs with the same seed and versions.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from properties.spec.clause import clauses
from properties.zoo.matrix import Matrix, Row

SCHEMA = "attention-properties/faults/1"


def as_json(matrix: Matrix) -> str:
    """The document as text."""
    kills, single = matrix.kills, matrix.single
    document = {
        "schema": SCHEMA,
        "profile": matrix.profile,
        "seed": matrix.seed,
        "full": matrix.full,
        "clauses": [
            {"id": id, "level": clauses()[id].level, "kills": kills[id], "alone": single[id]}
            for id in matrix.clauses
        ],
        "faults": [fault(row) for row in matrix.rows],
        "survivors": matrix.survivors,
        "idle": matrix.idle,
        "holds": matrix.holds,
    }
    return json.dumps(document, indent=1, allow_nan=False)


def fault(row: Row) -> dict[str, Any]:
    """One fault as plain data."""
    data = asdict(row)
    if row.first:
        data["first"]["size"] = row.first.size._asdict()
    return data


def write(matrix: Matrix, path: Path) -> None:
    """The document as a file."""
    path.write_text(as_json(matrix) + "\n", encoding="utf-8")
