"""What a comparison found, as plain data."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from properties.basics.errors import CANNOT_ASK

IDENTICAL, ROUNDING, DIFFERENT = "bit-identical", "within rounding", "different"
UNKNOWN = "not compared, because both raised"
RESULTS = ("outputs", "calls", "gradients")
MILD = ("checkpoint", "interface")
"""Kinds of change after which the module still computes the same and refuses the same."""


@dataclass(frozen=True)
class Change:
    """One thing that is not what it was, in a sentence, with what it was and what it is.

    kind: outputs, calls, convention, gradients, clause, refusal, checkpoint or interface; name: what the
    new side behaves like, "" where that is not known; also: further clauses that the same breaks; told: the
    roles of what a call was told.
    """

    kind: str
    what: str
    old: str
    new: str
    clause: str = ""
    counterexample: dict[str, Any] | None = None
    name: str = ""
    also: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)

    @property
    def size(self) -> float:
        """How many numbers the counterexample holds; infinite where there is none."""
        if self.counterexample is None:
            return np.inf
        arrays = [self.counterexample["x"], *self.counterexample["weights"].values()]
        return float(sum(np.asarray(array).size for array in arrays))


@dataclass(frozen=True)
class Agreement:
    """How near two sides were: examples compared, how many of them were the same to the last bit,
    the largest share of both error budgets that a difference used, on how many further examples both
    sides raised, so that there was nothing to compare, and the most tokens of an example compared.
    """

    examples: int = 0
    identical: int = 0
    share: float = 0.0
    raised: int = 0
    tokens: int = 0

    def __add__(self, other: Agreement) -> Agreement:
        """Both, as one."""
        return Agreement(
            self.examples + other.examples,
            self.identical + other.identical,
            max(self.share, other.share),
            self.raised + other.raised,
            max(self.tokens, other.tokens),
        )

    @property
    def unknown(self) -> bool:
        """Whether both sides raised on every example."""
        return bool(self.raised) and not self.examples


@dataclass(frozen=True)
class Comparison:
    """Old against new, and what is needed to compare them again.

    cost: new over old, by what was measured; asked: clauses that both were asked; options: further
    words of the command line that are needed to compare the same again; remembered: cases on which
    they differed before, and what became of each.
    """

    old: str
    new: str
    family: str
    profile: str
    seed: int
    outputs: Agreement
    gradients: Agreement
    changes: list[Change]
    asked: int = 0
    notes: list[str] = field(default_factory=list)
    cost: dict[str, float] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    options: list[str] = field(default_factory=list)
    seconds: float = 0.0
    remembered: list[dict[str, Any]] = field(default_factory=list)
    calls: Agreement = field(default_factory=Agreement)

    @property
    def results(self) -> str:
        """Of outputs, calls and gradients: bit-identical, within rounding, different, or not compared."""
        if any(change.kind in RESULTS for change in self.changes):
            return DIFFERENT
        pairs = (self.outputs, self.calls, self.gradients)
        if any(pair.unknown for pair in pairs):
            return UNKNOWN
        exact = all(pair.identical == pair.examples for pair in pairs)
        return IDENTICAL if exact else ROUNDING

    @property
    def verdict(self) -> str:
        """Like `results`, and different also where a clause broke or a refusal changed."""
        mild = all(change.kind in MILD for change in self.changes)
        return self.results if mild else DIFFERENT

    @property
    def same(self) -> bool:
        """Whether it is known that nothing changed that a user would notice."""
        return not self.changes and self.results != UNKNOWN

    @property
    def exit_code(self) -> int:
        """0 nothing changed beyond rounding, 1 something did, 2 nobody knows: both sides raised."""
        return 1 if self.changes else 0 if self.same else CANNOT_ASK

    def to_dict(self) -> dict[str, Any]:
        """Plain data: what `from_dict` reads."""
        return {**asdict(self), "results": self.results, "verdict": self.verdict, "same": self.same}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Comparison:
        """The comparison that `to_dict` wrote."""
        data = {k: v for k, v in data.items() if k not in ("results", "verdict", "same")}
        for name in ("outputs", "calls", "gradients"):
            data[name] = Agreement(**data[name])
        return cls(**{**data, "changes": [Change(**change) for change in data["changes"]]})
