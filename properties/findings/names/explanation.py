"""A name and what it claims: a wrong form of attention, and when it holds."""

from __future__ import annotations

from dataclasses import dataclass

from properties.findings.names.examples import Example, When
from properties.findings.names.formula import Formula

UNKNOWN = 2  # the rank of what holds in some examples, nobody knows when


@dataclass(frozen=True)
class Explanation:
    """A wrong formula that fits, and when it holds: () for always, None where no words are known."""

    formula: type[Formula]
    when: tuple[When, ...] | None = ()

    @property
    def rank(self) -> int:
        """What always holds explains better than what holds sometimes, and known before unknown."""
        return 0 if self.when == () else 1 if self.when else UNKNOWN

    def holds(self, example: Example) -> bool:
        """Whether an example meets the condition; one that is not known may hold anywhere."""
        return not self.when or any(condition.holds(example) for condition in self.when)

    def __str__(self) -> str:
        words = " or ".join(condition.words for condition in self.when or ())
        when = " in some examples" if self.when is None else f" {words}" if words else ""
        return f"{self.formula.called}{when}; look for {self.formula.look}"


RIGHT = Explanation(Formula)
