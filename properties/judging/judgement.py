"""What is found about an untrusted function."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Finding:
    """kind: its name, one of those in docs/judging.md; words: what was seen, in a sentence or two."""

    kind: str
    words: str


@dataclass(frozen=True)
class Judgement:
    """candidate: what was judged; seed: draws the same plan again; questions: how many were asked, of all;
    findings: what is wrong, the first one first.
    """

    candidate: str
    seed: int
    questions: int
    of: int
    findings: tuple[Finding, ...]

    @property
    def right(self) -> bool:
        """Whether all was asked and nothing is wrong."""
        return not self.findings and self.questions == self.of

    def told(self, kind: str) -> bool:
        """Whether a finding has this name."""
        return any(finding.kind == kind for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "candidate": self.candidate,
            "right": self.right,
            "seed": self.seed,
            "questions": {"asked": self.questions, "of": self.of},
            "findings": [{"kind": f.kind, "words": f.words} for f in self.findings],
        }

    def __str__(self) -> str:
        verdict = "right" if self.right else "wrong"
        asked = f"{self.questions} of {self.of} questions asked, seed {self.seed}"
        lines = [f"{self.candidate}: {verdict} ({asked})"]
        return "\n".join([*lines, *(f"- {f.kind}: {f.words}" for f in self.findings)])
