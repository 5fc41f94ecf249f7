"""The rows of a survey as one JSON document, written and read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from properties.basics.errors import QuestionError
from properties.survey.row import Row

SCHEMA = "attention-properties/survey/1"


def document(rows: Sequence[Row], profile: str, seed: int) -> dict[str, Any]:
    """What is written: the rows, and what else an answer depends on."""
    return {
        "schema": SCHEMA,
        "profile": profile,
        "seed": seed,
        "torch": version("torch"),
        "rows": [row.data() for row in rows],
    }


def as_json(content: Mapping[str, Any]) -> str:
    """The document as text."""
    return json.dumps(content, indent=1, allow_nan=False)


def read(path: Path) -> dict[str, Any]:
    """The document of a file; QuestionError where it is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise QuestionError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise QuestionError(
            f"{path} is no survey: expected the schema {SCHEMA}, as --json writes it"
        )
    return content


def rows(content: Mapping[str, Any]) -> list[Row]:
    """The rows of a document."""
    return [Row(**restored(each)) for each in content["rows"]]


def restored(data: Mapping[str, Any]) -> dict[str, Any]:
    """Lists as the tuples that they were."""
    return {name: tuple(v) if isinstance(v, list) else v for name, v in data.items()}


def renewed(old: Iterable[Row], new: Sequence[Row], order: Sequence[str]) -> list[Row]:
    """The old rows with the new ones in their places; order: the names of all lines there are."""
    found = {row.name: row for row in (*old, *new)}
    return [found[name] for name in order if name in found]
