"""A campaign in one report: what failed first, how often, and how much of the bounds was used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from properties.reports.drawn import histogram, largest, named
from properties.runs.journal import Line
from properties.runs.result import Status

SCHEMA = "attention-properties/campaign/1"
FEW = 20  # failures that are told; the JSON has all


@dataclass
class Merged:
    """All lines together. failures: by subject and clause, the first one with its piece, and how many;
    decides: of those, the laws on valid input that MUST hold, and errors.
    """

    pieces: int = 0
    reports: int = 0
    seconds: float = 0.0
    status: Counter[str] = field(default_factory=Counter)
    failures: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    margins: list[float] = field(default_factory=list)
    widest: dict[str, float] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    lost: list[Line] = field(default_factory=list)

    def add(self, line: Line) -> None:
        """One more piece."""
        self.pieces += 1
        if "lost" in line:
            self.lost.append(line)
            return
        self.seconds += line["seconds"]
        self.refused |= line["refused"]
        for report in line["reports"]:
            self.reports += 1
            self.status.update(report["status"].values())
            self.margins += report["margins"].values()
            for clause, margin in report["margins"].items():
                self.widest[clause] = max(self.widest.get(clause, 0.0), margin)
            for failed in report["failures"]:
                first = {**failed, "piece": line["piece"], "subject": report["subject"], "times": 0}
                known = self.failures.setdefault((report["subject"], failed["clause"]), first)
                known["times"] += 1

    @property
    def exit_code(self) -> int:
        """0 no law that decides failed; 1 one did; 2 something could not be asked."""
        if any(map(decides, self.failures.values())):
            return 1
        return 2 if self.lost or self.refused or not self.reports else 0

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "schema": SCHEMA,
            "pieces": self.pieces,
            "reports": self.reports,
            "seconds": self.seconds,
            "status": dict(self.status),
            "failures": list(self.failures.values()),
            "widest": self.widest,
            "refused": self.refused,
            "lost": self.lost,
        }

    def lines(self) -> Iterator[str]:
        """What is printed."""
        told = ", ".join(f"{count:,} {status}" for status, count in sorted(self.status.items()))
        yield f"{self.pieces:,} pieces, {self.reports:,} reports, {self.seconds:,.0f} s of work: {told}"
        order = sorted(self.failures.values(), key=lambda failed: not decides(failed))
        for failed in order[:FEW]:
            yield from failure_lines(failed)
        if len(order) > FEW:
            yield f"... and {len(order) - FEW} more clauses failed; --json has all of them"
        if self.margins:
            yield f"share of the bound that was used, by clause and report: {len(self.margins):,}"
            yield from (f"  {line}" for line in histogram(self.margins))
            yield from named("widest", {c: f"{share:.1%}" for c, share in largest(self.widest)})
        yield from (f"not asked: {reason}" for reason in self.refused.values())
        for line in self.lost:
            yield f"lost: {asked_with(line['piece'])}: {line['lost']}; run the campaign again to retry"


def merged(lines: Iterable[Line]) -> Merged:
    """All lines together."""
    found = Merged()
    for line in lines:
        found.add(line)
    return found


def decides(failed: Mapping[str, Any]) -> bool:
    """Whether a failure is held against its subject."""
    if failed["status"] == Status.ERROR:
        return True
    return bool(failed["level"] == "MUST" and failed["half"] == "right")


def failure_lines(failed: Mapping[str, Any]) -> Iterator[str]:
    """A clause that failed: how often, and the first time."""
    word = str(failed["status"]).upper() if decides(failed) else "not met"
    yield f"{word} {failed['subject']} {failed['clause']} ({failed['level']}), {failed['times']} times"
    yield f"  first: {asked_with(failed['piece'])}"
    yield f"  {failed['message'].partition(chr(10))[0]}"


def asked_with(piece: Mapping[str, Any]) -> str:
    """A piece in a few words."""
    form = f", {piece['format']}" if piece.get("format") else ""
    return f"{piece['target']}, seed {piece['seed']}{form}"
