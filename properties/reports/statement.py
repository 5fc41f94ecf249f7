"""A conformance statement: what was claimed of which source, and all it takes to ask again."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from properties.basics.errors import QuestionError
from properties.basics.version import SPEC
from properties.runs.result import Report

SCHEMA = "attention-properties/statement/2"
CLAIM = {
    "subject": str,
    "family": str,
    "profile": str,
    "seed": int,
    "only": list,
    "source": dict,
    "versions": dict,
    "right": bool,
    "guarded": bool,
    "strict": bool,
    "clauses": dict,
    "waivers": list,
}
"""The fields of a claim and their types."""
LATER = {"takes": dict, "conventions": dict, "given": list}
"""Fields that statements of before have not."""


def write(reports: Sequence[Report], path: Path) -> None:
    """The statement as a file."""
    document = {
        "schema": SCHEMA,
        "spec": SPEC,
        "claims": [claim(report) for report in reports if report.results],
    }
    text = json.dumps(document, indent=2, allow_nan=False, default=float)
    path.write_text(text + "\n", encoding="utf-8")


def claim(report: Report) -> dict[str, Any]:
    """What is claimed of one subject."""
    return {
        "subject": report.subject,
        "family": report.family,
        "profile": report.profile,
        "seed": report.seed,
        "only": report.only,
        "source": report.source,
        "versions": report.versions,
        "right": report.right,
        "guarded": report.guarded,
        "strict": report.strict,
        "clauses": {
            result.clause: {
                "level": result.level,
                "status": str(result.status),
                "examples": result.examples,
                "counted": result.counted,
            }
            for result in report.results
        },
        "waivers": report.waivers,
        "takes": report.takes,
        "conventions": report.conventions,
        "given": given(report.options),
    }


def read(path: Path) -> dict[str, Any]:
    """The document; QuestionError if it is no statement."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise QuestionError(f"{path}: {error.strerror or error}; name a statement") from error
    except ValueError as error:
        raise QuestionError(f"{path} is not JSON: {error}; name what --statement wrote") from error
    schema = document.get("schema") if isinstance(document, dict) else None
    if schema != SCHEMA:
        raise QuestionError(
            f"{path} has the schema {schema!r}; expected {SCHEMA!r}: write it again with "
            "`attention-properties check TARGET --statement FILE`"
        )
    claims = document.get("claims")
    if not isinstance(document.get("spec"), str) or not isinstance(claims, list) or not claims:
        raise QuestionError(f"{path} is damaged: no version of the spec, or no claims")
    for number, each in enumerate(claims, 1):
        require_claim(f"{path}, claim {number}", each)
    return document


def require_claim(place: str, found: Any) -> None:
    """QuestionError unless every field is there, with its type."""
    for name, kind in CLAIM.items():
        if not isinstance(found, dict) or not isinstance(found.get(name), kind):
            raise QuestionError(f"{place} is damaged: {name} is missing or no {kind.__name__}")
    for name, kind in LATER.items():
        if not isinstance(found.get(name, kind()), kind):
            raise QuestionError(f"{place} is damaged: {name} is no {kind.__name__}")
    if not all(isinstance(entry, dict) for entry in found["clauses"].values()):
        raise QuestionError(f"{place} is damaged: a clause is no table")
    if not all(is_convention(entry) for entry in found.get("conventions", {}).values()):
        raise QuestionError(f"{place} is damaged: a convention has no answer, or is not known how")
    if not all(isinstance(entry, dict) for entry in found["waivers"]):
        raise QuestionError(f"{place} is damaged: a waiver is no table")


def is_convention(entry: Any) -> bool:
    """Whether it says an answer and how that is known."""
    return isinstance(entry, dict) and all(
        isinstance(entry.get(name), str) for name in ("answer", "found")
    )


def differences(stated: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[str]:
    """What is not as it was stated, a line each: subject, versions, verdicts."""
    for name in ("family", "profile", "seed"):
        if stated[name] != found[name]:
            yield f"{name}: stated {stated[name]}, now {found[name]}"
    if stated["source"].get("sha256") != found["source"].get("sha256"):
        file = found["source"].get("file", "its source")
        yield f"subject changed: {file} is not what it was when this was stated"
    yield from changed("version of ", stated["versions"], found["versions"])
    for name in ("right", "guarded", "strict"):
        if stated[name] is not found[name]:
            yield f"{name}: stated {told(stated[name])}, now {told(found[name])}"
    for name, kept in (("argument for ", "takes"), ("convention ", "conventions")):
        if kept in stated:  # not in statements of before
            yield from changed(name, *(in_words(claim[kept]) for claim in (stated, found)))
    yield from changed("", *(map_verdicts(claim["clauses"]) for claim in (stated, found)))


def changed(what: str, stated: Mapping[str, str], found: Mapping[str, str]) -> Iterator[str]:
    """A line for each entry that differs."""
    for name in dict.fromkeys([*stated, *found]):
        before, now = stated.get(name, "nothing"), found.get(name, "nothing")
        if before != now:
            yield f"{what}{name}: stated {before}, now {now}"


def in_words(kept: Mapping[str, Any]) -> dict[str, str]:
    """What is kept under a name as one word: an argument, or a convention's answer."""
    return {n: v["answer"] if isinstance(v, dict) else str(v) for n, v in kept.items()}


def declared(claim: Mapping[str, Any]) -> dict[str, str]:
    """The conventions that the subject of a claim was held to."""
    kept = claim.get("conventions", {})
    return {n: each["answer"] for n, each in kept.items() if each["found"] == "declared"}


def given(options: Sequence[str]) -> list[str]:
    """The texts of the values that were chosen for what has no known meaning."""
    return [text for option, text in pairwise(options) if option == "--with"]


def map_verdicts(clauses: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Each clause's verdict in words."""
    return {
        id: f"{entry.get('status')} ({entry.get('counted')} of {entry.get('examples')} examples)"
        for id, entry in clauses.items()
    }


def told(answer: bool) -> str:
    """Yes or no."""
    return "yes" if answer else "no"
