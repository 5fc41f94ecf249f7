"""What a call comes to once its options are read: arrays, a request, positions, what was dropped.

Legend: B batch, H heads of queries, G heads of keys and values, T queries, S keys, D head_dim, E columns
of a value.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from properties.basics.dtypes import Array
from properties.truth.attend import Attended, attend, mix, repeated
from properties.truth.positions import Rotary
from properties.truth.request import Request, Seen


@dataclass(frozen=True, eq=False)
class Parts:
    """What came: output (B, H, T, E), lse (B, H, T), weights (B, H, T, S); nothing is one of NaN in rows
    that see nothing, where no convention says what they give.
    """

    output: Array
    lse: Array
    weights: Array
    nothing: Seen  # (B, H, T): the rows that see nothing


@dataclass(frozen=True, eq=False)
class Call:
    """queries (B, H, T, D), keys (B, G, S, D), values (B, G, S, E), before any turn.

    kept: (B, H, T, S), the weights that dropout has left, each then divided by 1 - dropout.
    """

    queries: Array
    keys: Array
    values: Array
    request: Request
    rotary: Rotary | None = None
    kept: Seen | None = None
    dropout: float = 0.0

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(B, H, T, S)."""
        batch, heads, tokens, _ = self.queries.shape
        return batch, heads, tokens, self.keys.shape[2]

    def seeing(self, seen: Seen) -> Call:
        """With what is not seen hidden besides."""
        visible = self.request.visible & seen
        return replace(self, request=replace(self.request, visible=visible))

    @property
    def turned(self) -> tuple[Array, Array]:
        """Queries and keys as they meet."""
        if self.rotary is None:
            return self.queries, self.keys
        turn = self.rotary.turn
        return turn(self.queries, self.rotary.queries), turn(self.keys, self.rotary.keys)

    @property
    def attended(self) -> Attended:
        """Before any is dropped."""
        return attend(*self.turned, self.values, self.request)

    @property
    def multiplied(self) -> Array | None:
        """What dropout multiplies each weight by."""
        return None if self.kept is None else self.kept / (1.0 - self.dropout)

    @property
    def parts(self) -> Parts:
        """What attention gives, by the first oracle."""
        attended = self.attended
        factors = self.multiplied
        if factors is None:
            return Parts(attended.context, attended.lse, attended.weights, attended.empty)
        return mixed(self, attended.weights * factors, attended)


def mixed(call: Call, weights: Array, attended: Attended) -> Parts:
    """These weights of the call's values, the rest as it is."""
    values = repeated(call.values, weights.shape[1])
    enters = np.ones(weights.shape, dtype=np.bool_)
    output = mix(weights, values, enters)
    return Parts(output, attended.lse, attended.weights, attended.empty)
