"""What of a module is at work that is put out of action in all other examples: a bound on the scores, a
window, the slopes of ALiBi, sinks.

Legend: T tokens, H heads.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from properties.basics.dtypes import Array
from properties.truth import visibility
from properties.truth.request import Request


@dataclass(frozen=True)
class Restored:
    """cap: the bound, c tanh(z / c); window: how many tokens before itself a query sees; slopes: whether
    the published ones of ALiBi are taken, H a power of two; sink: what the first head's sink scores.
    """

    cap: float | None = None
    window: int | None = None
    slopes: bool = False
    sink: float | None = None

    def added_to(self, request: Request, tokens: int, heads: int) -> Request:
        """What T tokens of H heads are asked, of each other."""
        if self.cap is not None:
            request = replace(request, cap=self.cap)
        if self.window is not None:
            within = visibility.window(tokens, tokens, self.window, -1)
            request = replace(request, visible=request.visible & within)
        if self.slopes:
            bias = visibility.alibi(visibility.slopes(heads), tokens, tokens)
            request = replace(request, bias=bias[None])
        if self.sink is not None:
            request = replace(request, sink=by_head(self.sink, heads))
        return request


def by_head(first: float, heads: int) -> Array:
    """What the sink of each head scores, (H,): half more than that of the head before."""
    scores: Array = np.array([first + 0.5 * head for head in range(heads)])
    return scores
