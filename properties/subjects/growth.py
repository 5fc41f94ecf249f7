"""Rotary positions of sequences longer than a module was made for: turned more slowly, the longer they are.

Legend: T tokens, L the context_length, R the columns that are turned, f a factor.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Kind = Literal["dynamic NTK", "stepwise NTK", "linear"]


@dataclass(frozen=True)
class Growth:
    """What happens where T > L. "dynamic NTK": the base grows by (f T / L - (f - 1))**(R / (R - 2))
    (transformers); "stepwise NTK": by (2**ceil(log2(T / L) + 1) - 1)**(R / (R - 2)) (Qwen); "linear":
    positions are divided by T / L.
    """

    kind: Kind
    factor: float = 1.0

    def base(self, base: float, turned: int, tokens: int, length: int) -> float:
        """The base for T tokens, of R columns; of one pair any base is the same."""
        ratio = tokens / length
        if self.kind == "linear" or ratio <= 1.0 or turned <= 2:
            return base
        steps = 2.0 ** math.ceil(math.log2(ratio) + 1.0) - 1.0
        grown = steps if self.kind == "stepwise NTK" else self.factor * ratio - (self.factor - 1.0)
        return float(base * grown ** (turned / (turned - 2)))

    def share(self, tokens: int, length: int) -> float:
        """What positions are multiplied by."""
        return min(1.0, length / tokens) if self.kind == "linear" else 1.0

    @property
    def words(self) -> str:
        """The rule in a few words."""
        of = f", factor {self.factor:g}" if self.kind == "dynamic NTK" else ""
        return f"slower beyond context_length ({self.kind}{of})"
