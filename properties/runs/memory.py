"""Failures that are remembered from run to run, in Hypothesis's example database.

A value is a failing case as JSON, with the clause that it breaks; its key is the name under which the
subject was asked. Remembered cases are asked first. They change nothing about what is drawn.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from hypothesis import settings
from hypothesis.database import (
    DirectoryBasedExampleDatabase,
    ExampleDatabase,
    GitHubArtifactDatabase,
    MultiplexedDatabase,
    ReadOnlyDatabase,
)

from properties.basics.errors import QuestionError
from properties.runs.result import Report, Status

Entry = Mapping[str, Any]
"""What broke ("clause", or "compared") and its "counterexample"."""

FAILS, HOLDS, UNREADABLE, UNASKED = "fails", "holds", "unreadable", "not asked"
"""What became of a remembered case."""

REDIS = ("redis://", "rediss://", "unix://")
GITHUB = "github:"


@dataclass(frozen=True)
class Memory:
    """A database, or none. All of its values are read and written here, whatever runs the subject."""

    database: ExampleDatabase | None = None

    def ask(self, name: str, ask: Callable[[list[Entry]], Report]) -> Report:
        """A report by `ask`, which is handed what is remembered; what fails in it is kept."""
        report = ask(self.recall(name))
        report.notes.extend(self.learn(name, failures(report), report.remembered))
        return report

    def recall(self, name: str) -> list[Entry]:
        """What is remembered of a name, in an order that is the same on every machine."""
        if self.database is None:
            return []
        try:
            values = sorted(self.database.fetch(key(name)))
        except Exception as error:
            raise QuestionError(
                f"the database {self.database!r} cannot be read: {type(error).__name__}: {error}.\n"
                "What to do: name another one by --database, or ask with --no-database."
            ) from error
        entries: list[Entry] = []
        for value in values:
            try:
                entry = json.loads(value)
                entries.append({**entry, "counterexample": dict(entry["counterexample"])})
            except (KeyError, TypeError, ValueError):  # another version's, or damaged
                self.database.delete(key(name), value)
        return entries

    def learn(self, name: str, failed: Iterable[Entry], told: Iterable[Entry]) -> list[str]:
        """Forget what holds now or means nothing; remember one case of each clause that fails. A verdict
        stands, whatever becomes of the database: what goes wrong is returned as a note.
        """
        if self.database is None:
            return []
        known = {broken_by(entry) for entry in told if entry["became"] == FAILS}
        try:
            for entry in told:
                if entry["became"] in (HOLDS, UNREADABLE):
                    self.database.delete(key(name), value_of(entry))
            for entry in failed:
                if broken_by(entry) not in known:
                    self.database.save(key(name), value_of(entry))
        except Exception as error:
            return [f"nothing was remembered: {type(error).__name__}: {error}"]
        return []


def key(name: str) -> bytes:
    """The database's key for what was asked under a name."""
    return b"attention-properties:" + name.encode()


def broken_by(entry: Entry) -> tuple[str | None, str | None]:
    """The clause, or the part of a comparison, of which the entry is a counterexample."""
    return entry.get("clause"), entry.get("compared")


def value_of(entry: Entry) -> bytes:
    """The entry's bytes in the database: the same whoever writes them."""
    parts = {
        name: entry[name] for name in ("clause", "compared", "counterexample") if name in entry
    }
    return json.dumps(parts, sort_keys=True).encode()


def failures(report: Report) -> list[Entry]:
    """What is worth remembering of a report. What a subject cannot take is found at every run."""
    return [
        {"clause": result.clause, "counterexample": result.counterexample}
        for result in report.results
        if result.status is Status.FAIL
        and result.counterexample
        and result.clause not in at_limits(report)
    ]


def at_limits(report: Report) -> set[str]:
    """The clauses that fail for what the subject cannot take."""
    return {c for f in report.findings if f.kind in ("domain", "edge") for c in f.clauses}


def opened(place: ExampleDatabase | str | bool = True) -> Memory:
    """The memory in a database: True for the one of Hypothesis's settings, by default the directory
    .hypothesis; False for none; a text for a directory, redis://HOST:PORT/NUMBER, or
    github:OWNER/REPOSITORY, whose artifacts are read and never written.
    """
    if isinstance(place, bool):
        return Memory(settings.default.database if place and settings.default is not None else None)
    return Memory(named(place) if isinstance(place, str) else place)


def named(place: str) -> ExampleDatabase:
    """The database that a text names; QuestionError where it needs what is not there."""
    if place.startswith(GITHUB):
        return on_github(place)
    if not place.startswith(REDIS):
        return DirectoryBasedExampleDatabase(place)
    try:
        from hypothesis.extra.redis import RedisExampleDatabase
        from redis import Redis
    except ImportError as error:
        raise QuestionError(
            f"--database {place} needs the package redis: pip install attention-properties[redis]"
        ) from error
    try:
        return RedisExampleDatabase(Redis.from_url(place))
    except ValueError as error:
        raise QuestionError(f"--database {place}: {error}; redis://HOST:PORT/NUMBER") from error


def on_github(place: str) -> ExampleDatabase:
    """The artifacts of another machine's runs, read after the local directory and never written."""
    owner, slash, repository = place.removeprefix(GITHUB).partition("/")
    if not (owner and slash and repository) or "/" in repository:
        raise QuestionError(f"--database {place}: expected github:OWNER/REPOSITORY")
    local = opened(True).database
    artifacts = ReadOnlyDatabase(GitHubArtifactDatabase(owner, repository))
    return artifacts if local is None else MultiplexedDatabase(local, artifacts)
