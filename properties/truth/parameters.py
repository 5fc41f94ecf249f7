"""The sizes of one example and the parameters of an attention, in one fixed layout.

Legend: B batch, T tokens, H heads, D head_dim.
"""

from __future__ import annotations

from dataclasses import dataclass

from properties.basics.dtypes import Array


@dataclass(frozen=True)
class Sizes:
    """The sizes of one example; `width` (H * D) is that of all heads together."""

    batch: int
    tokens: int
    d_in: int
    heads: int
    head_dim: int
    context_length: int

    @property
    def width(self) -> int:
        """H * D, the number of columns of each projection and of the output."""
        return self.heads * self.head_dim


@dataclass(frozen=True, eq=False)
class Weights:
    """The parameters of an attention in one fixed layout, float64; head h owns columns h*D to (h+1)*D.

    query, key, value: (d_in, H*D), applied as x @ W; their biases (H*D,) or None;
    out: (H*D, H*D), applied as context @ W, or None; out_bias (H*D,) or None.
    """

    query: Array
    key: Array
    value: Array
    query_bias: Array | None = None
    key_bias: Array | None = None
    value_bias: Array | None = None
    out: Array | None = None
    out_bias: Array | None = None
