"""Waivers: failures that are known and accepted, each with its reason and its counterexample.

    [[waiver]]
    clause = "numerics/large-scores-stay-finite"
    reason = "half precision is not used here"
    subject = "my_package.model:MyAttention"      # optional; any subject otherwise
    when = { dtype = "float16" }                  # optional; any example otherwise
    [waiver.counterexample]                       # written by --accept; replayed at every run
    ...

A waiver holds as long as its counterexample fails. It excuses no failure outside its condition.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from properties.basics.dtypes import FORMATS
from properties.basics.errors import QuestionError
from properties.cases.case import Case
from properties.runs.result import Report, Status, read_case
from properties.spec.clause import clauses
from properties.subjects.subject import FAMILIES, Subject
from properties.truth.parameters import Sizes

REQUIRED = ("clause", "reason", "counterexample")
KEYS = (*REQUIRED, "subject", "when")
SIZES = tuple(size.name for size in fields(Sizes))
CONDITIONS = ("family", "dtype", "bias", *SIZES)


@dataclass(frozen=True)
class Waiver:
    """One entry of the file; `place` says which, for messages."""

    clause: str
    reason: str
    counterexample: Mapping[str, Any]
    subject: str | None = None
    when: Mapping[str, Any] = field(default_factory=dict)
    place: str = ""

    def concerns(self, subject: Subject) -> bool:
        """Whether it is meant for this subject."""
        return self.subject in (None, subject.name) and (
            self.when.get("family", subject.family) == subject.family
        )

    def covers(self, case: Case) -> bool:
        """Whether the case meets its condition."""
        facts = {
            "family": case.subject.family,
            "dtype": case.dtype,
            "bias": case.bias,
            **asdict(case.sizes),
            "groups": case.sizes.key_heads,
        }
        return all(facts[name] == value for name, value in self.when.items())

    def case(self, subject: Subject) -> Case:
        """The counterexample as a case of the subject; QuestionError if it cannot be one."""
        try:
            case = read_case(self.counterexample, subject)
        except KeyError as error:
            raise self.unusable(f"{error.args[0]} is missing") from error
        except (TypeError, ValueError) as error:
            raise self.unusable(str(error)) from error
        if case.dtype not in subject.dtypes:
            raise self.unusable(f"{subject.name} does not run in {case.dtype}")
        if (case.weights is not None) != subject.has("projections"):
            raise self.unusable(
                "it has weights where the subject has none that can be set, or none"
            )
        if not self.covers(case):
            raise self.unusable(f"it does not meet the waiver's own condition {dict(self.when)}")
        return case

    def unusable(self, why: str) -> QuestionError:
        """The counterexample is no case, or none of this subject."""
        return QuestionError(
            f"{self.place}: the counterexample cannot be replayed: {why}.\n"
            "What to do: remove the waiver, and accept the failure again with --accept."
        )

    def data(self) -> dict[str, Any]:
        """Plain data, as in the file."""
        named = {
            "clause": self.clause,
            "reason": self.reason,
            "subject": self.subject,
            "when": dict(self.when),
            "counterexample": dict(self.counterexample),
        }
        return {key: value for key, value in named.items() if value}


def read(path: Path) -> list[Waiver]:
    """The waivers in a file; QuestionError for whatever in it means nothing."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise QuestionError(
            f"--waivers {path}: {error.strerror or error}; name a file that there is, or let "
            "--accept write one"
        ) from error
    except ValueError as error:  # TOML's and Unicode's
        raise QuestionError(f"--waivers {path}: not TOML: {error}") from error
    require_known(f"--waivers {path}", document, ("waiver",))
    entries = document.get("waiver", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise QuestionError(f"--waivers {path}: expected [[waiver]] tables")
    return [parse(entry, f"{path}, waiver {n}") for n, entry in enumerate(entries, 1)]


def parse(entry: Mapping[str, Any], place: str) -> Waiver:
    """One entry; QuestionError for a key, clause or condition that there is not."""
    require_known(place, entry, KEYS)
    for key in REQUIRED:
        if not entry.get(key):
            raise QuestionError(f"{place}: {key} is missing or empty; a waiver needs one")
    for key in ("clause", "reason", "subject"):
        if not isinstance(entry.get(key, ""), str):
            raise QuestionError(f"{place}: {key} is {entry[key]!r}; expected text")
    if not entry["reason"].strip():
        raise QuestionError(f"{place}: reason is empty; say why the failure is accepted")
    if entry["clause"] not in clauses():
        raise QuestionError(
            f"{place}: no clause {entry['clause']!r}{near(entry['clause'], clauses())}"
        )
    for key in ("when", "counterexample"):
        if not isinstance(entry.get(key, {}), dict):
            raise QuestionError(f"{place}: {key} is {entry[key]!r}; expected a table")
    check_condition(entry.get("when", {}), place)
    return Waiver(**entry, place=place)


def check_condition(when: Mapping[str, Any], place: str) -> None:
    """QuestionError unless every name is one of `CONDITIONS`, with a value that it can have."""
    require_known(f"{place}, when", when, CONDITIONS)
    for name, value in when.items():
        if name in SIZES:
            right, wanted = type(value) is int and value > 0, "a size above 0"
        elif name == "bias":
            right, wanted = isinstance(value, bool), "true or false"
        else:
            known = FAMILIES if name == "family" else FORMATS
            right, wanted = value in list(known), f"one of {listed(known)}"
        if not right:
            raise QuestionError(f"{place}, when: {name} is {value!r}; expected {wanted}")


def require_known(place: str, given: Iterable[str], known: Iterable[str]) -> None:
    """QuestionError for a name that means nothing here."""
    for name in given:
        if name not in known:
            hint = near(name, known)
            raise QuestionError(
                f"{place}: {name!r} means nothing here{hint}; known: {listed(known)}"
            )


def near(name: str, known: Iterable[str]) -> str:
    """'; did you mean ...?' or nothing."""
    matches = get_close_matches(name, list(known), n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(matches)}?" if matches else ""


def listed(names: Iterable[Any]) -> str:
    """The names with commas."""
    return ", ".join(map(str, names))


def require_asked(waiver: Waiver, subject: Subject, status: Status | None) -> None:
    """QuestionError for a waiver of what the subject is never asked; status: None where it is no
    part of this run.
    """
    if status is Status.UNSUPPORTED or not clauses()[waiver.clause].concerns(subject):
        raise QuestionError(
            f"{waiver.place}: {waiver.clause} is not asked of {subject.name} ({subject.family}), so "
            'there is nothing to waive; remove the waiver, or name its subject = "..."'
        )


def accepted(reports: Iterable[Report], reason: str) -> Iterator[Waiver]:
    """A waiver for each failed MUST clause, as it failed."""
    for report in reports:
        for result in report.with_status(Status.FAIL):
            if result.counterexample is not None:
                yield Waiver(result.clause, reason, result.counterexample, report.subject)


def append(path: Path, waivers: Iterable[Waiver]) -> None:
    """Add entries to a file, new or not; what stands in it is left as it is."""
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    after = "\n".join([before.rstrip("\n"), *map(text, waivers)]).lstrip("\n")
    tomllib.loads(after)  # before it is written
    path.write_text(after, encoding="utf-8")


def text(waiver: Waiver) -> str:
    """An entry of the file."""
    data = waiver.data()
    example = dict(data.pop("counterexample"))
    weights = example.pop("weights", {})
    return "\n".join(
        [
            "",
            "[[waiver]]",
            *assignments(data),
            "[waiver.counterexample]",
            *assignments(example),
            "[waiver.counterexample.weights]",
            *assignments(weights),
            "",
        ]
    )


def assignments(data: Mapping[str, Any]) -> list[str]:
    """A line of TOML for each key."""
    return [f"{key} = {toml(value)}" for key, value in data.items()]


def toml(value: Any) -> str:
    """A value on one line. Text, numbers and arrays are written as in JSON, which TOML reads."""
    if isinstance(value, Mapping):
        return f"{{ {', '.join(assignments(value))} }}"
    return json.dumps(value, ensure_ascii=False, allow_nan=False).replace("\x7f", "\\u007f")
