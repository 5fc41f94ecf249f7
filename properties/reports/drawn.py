"""What was drawn, on one screen: sizes, formats, kinds, and how much of the bounds was used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from properties.runs.observing import SHARE

Observation = Mapping[str, Any]
SIZES = ("tokens", "batch", "heads", "heads of keys", "head_dim", "d_in")
WORDS = ("kind", "format", "bias", "full context")
EDGES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
FEW = 5  # clauses that are named for what they used of their bound, and for what did not count


@dataclass
class Drawn:
    """The observations of a subject's last run, counted as they come."""

    started: float
    cases: dict[str, Mapping[str, Any]] = field(default_factory=dict)  # features by representation
    status: Counter[str] = field(default_factory=Counter)
    shares: list[float] = field(default_factory=list)
    widest: dict[str, float] = field(default_factory=dict)  # by clause
    given_up: Counter[str] = field(default_factory=Counter)

    def add(self, seen: Observation) -> None:
        """One more."""
        clause, features = seen["metadata"]["clause"], seen["features"]
        self.cases.setdefault(seen["representation"], features)
        self.status[seen["status"]] += 1
        self.given_up[clause] += seen["status"] == "gave_up"
        if SHARE in features:
            self.shares.append(features[SHARE])
            self.widest[clause] = max(self.widest.get(clause, 0.0), features[SHARE])

    def lines(self) -> Iterator[str]:
        """The screen, at most 80 columns wide but for a clause's name."""
        told = ", ".join(
            f"{count:,} {word.replace('_', ' ')}" for word, count in self.status.items()
        )
        yield f"drawn: {len(self.cases)} cases, {self.status.total():,} questions: {told}"
        for name in (*SIZES, *WORDS):
            yield f"  {name:14}{spread(features[name] for features in self.cases.values())}"
        if self.shares:
            yield f"  {SHARE} that was used, of {len(self.shares):,} measured"
            yield from (f"    {line}" for line in histogram(self.shares))
        yield from named("widest", {c: f"{share:.1%}" for c, share in largest(self.widest)})
        gave_up = {clause: count for clause, count in self.given_up.items() if count}
        yield from named("gave up most", {c: f"{count} times" for c, count in largest(gave_up)})


def count(drawn: dict[str, Drawn], seen: Observation) -> None:
    """One more, by subject. A process that was lost begins anew, and so does the count."""
    subject, started = seen["metadata"]["subject"], seen["run_start"]
    if subject not in drawn or drawn[subject].started != started:
        drawn[subject] = Drawn(started)
    drawn[subject].add(seen)


def spread(values: Iterable[Any]) -> str:
    """Each value with its share of the cases: numbers in their order, words by how often they came."""
    counted = Counter(values)
    order = counted.most_common()
    if all(type(value) is int for value in counted):
        order = sorted(counted.items())
    return "  ".join(f"{said(value)}: {count / counted.total():.0%}" for value, count in order)


def said(value: Any) -> str:
    """A truth value as a word."""
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def histogram(shares: list[float]) -> Iterator[str]:
    """A bar for each range of shares, forty characters for all of them."""
    low = 0.0
    for high in EDGES:
        count = sum(low <= share < high or share == high == EDGES[-1] for share in shares)
        part = count / len(shares)
        yield f"{100 * low:5g}% to {100 * high:5g}%  {part:4.0%} {'#' * round(40 * part)}"
        low = high


def largest(values: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """The few with the largest values."""
    return sorted(values.items(), key=lambda item: -item[1])[:FEW]


def named(what: str, clauses: Mapping[str, str]) -> Iterator[str]:
    """A line for each clause."""
    for number, (clause, text) in enumerate(clauses.items()):
        yield f"  {what if number == 0 else '':14}{text:>9}  {clause}"
