"""The sizes of one example and the parameters of an attention, in one fixed layout.

Legend: B batch, T tokens, H heads of queries, G heads of keys and values, D head_dim.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from properties.basics.dtypes import Array


@dataclass(frozen=True)
class Sizes:
    """The sizes of one example; `width` (H * D) is that of all heads together.

    groups: the number of heads of keys and values, G, where it is another than that of the heads of
    queries, which it divides; 0 where there are as many. d_context: the width of the tokens of which
    keys and values are made, where it is another than d_in; 0 where it is d_in.
    """

    batch: int
    tokens: int
    d_in: int
    heads: int
    head_dim: int
    context_length: int
    groups: int = 0
    d_context: int = 0

    @property
    def key_heads(self) -> int:
        """G, the number of heads of keys and values."""
        return self.groups or self.heads

    @property
    def shared(self) -> int:
        """H / G, how many heads of queries read one head of keys and values."""
        return self.heads // self.key_heads

    @property
    def key_width(self) -> int:
        """G * D, the number of columns of keys and of values."""
        return self.key_heads * self.head_dim

    @property
    def width(self) -> int:
        """H * D, the number of columns of the queries and of the output."""
        return self.heads * self.head_dim

    def width_of(self, role: str) -> int:
        """The number of columns of the projection for `role`: query, key, value or out."""
        return self.key_width if role in ("key", "value") else self.width

    def d_in_of(self, role: str) -> int:
        """The number of rows of the projection for `role`: query, key, value or out."""
        if role == "out":
            return self.width
        return (self.d_context or self.d_in) if role in ("key", "value") else self.d_in

    def data(self) -> dict[str, int]:
        """Plain data; without `groups` and `d_context` where they say nothing of their own."""
        own = {"groups", "d_context"}
        return {name: size for name, size in asdict(self).items() if name not in own or size}


@dataclass(frozen=True, eq=False)
class Weights:
    """The parameters of an attention in one fixed layout, float64; head h owns columns h*D to (h+1)*D.

    query: (d_in, H*D), key, value: (d_in or d_context, G*D), applied as x @ W; their biases, as wide,
    or None;
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
