"""One vector: a call with its options, exact, and a number that never changes.

Legend: B batch, H heads of queries, G heads of keys and values, T queries, S keys, D head_dim, E columns
of a value, N tokens of all documents.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from properties.basics.dtypes import Array
from properties.subjects.call import Lengths
from properties.truth import visibility
from properties.truth.positions import Pairing, Rotary
from properties.truth.request import Request, Seen
from properties.truth.visibility import Align
from properties.vectors.call import Call
from properties.vectors.exact import Exact
from properties.vectors.right import Right, right_of

Starts = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Turn:
    """Rotary positions: of queries (T,) and of keys (S,), the past's included."""

    queries: Sequence[int]
    keys: Sequence[int]
    pairing: Pairing
    base: float = 10000.0
    portion: float = 1.0

    @property
    def rotary(self) -> Rotary:
        """As the oracle takes it."""
        queries, keys = (np.array(p, dtype=np.float64) for p in (self.queries, self.keys))
        return Rotary(queries, keys, self.pairing, self.base, self.portion)


@dataclass(frozen=True, eq=False)
class Options:
    """What a call is told; what it is not told keeps None.

    mask: true where a key is seen, broadcastable to (B, H, T, S); bias: likewise, numbers; padding:
    (B, S), true where a key is real; window: other keys before and after, -1 for no limit; slopes, sink:
    (H,); past: how many of the keys were there before; starts: where documents of queries and of keys
    start, and the last one ends; kept: the weights that dropout leaves; weights: whether they are wanted.
    """

    mask: Seen | None = None
    bias: Exact | None = None
    padding: Seen | None = None
    causal: bool | None = None
    window: tuple[int, int] | None = None
    scale: float | None = None
    cap: float | None = None
    slopes: Exact | None = None
    sink: Exact | None = None
    rotary: Turn | None = None
    past: int | None = None
    starts: tuple[Starts, Starts] | None = None
    kept: Seen | None = None
    dropout: float | None = None
    weights: bool | None = None


@dataclass(frozen=True, eq=False)
class Vector:
    """number: its tcId; align, empty: the conventions of its group, "" where it makes no difference;
    refused: what is wrong with it, where it must be refused; upstream: (B, H, T, E), the factors of the
    outputs whose sum is differentiated, where it is about gradients.
    """

    number: int
    comment: str
    queries: Exact
    keys: Exact
    values: Exact
    options: Options
    align: str = ""
    empty: str = ""
    refused: str = ""
    upstream: Exact | None = None

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(B, H, T, S) as it is written."""
        batch, heads, tokens, _ = self.queries.integers.shape
        return batch, heads, tokens, self.keys.integers.shape[2]

    @property
    def corner(self) -> Align:
        """Where the causal diagonal lies."""
        return "bottom right" if self.align == "bottom right" else "top left"

    @property
    def returned(self) -> tuple[str, ...]:
        """What is compared; the LSE of documents is laid out in many ways, and left out."""
        lse = () if self.options.starts else ("lse",)
        return ("output", *lse, *(("weights",) if self.options.weights else ()))

    @cached_property
    def call(self) -> Call:
        """What it comes to."""
        told = self.options
        q, k, v = (x.array for x in (self.queries, self.keys, self.values))
        request = Request(
            self.visible,
            scale=told.scale,
            cap=told.cap,
            bias=self.bias,
            sink=None if told.sink is None else told.sink.array,
            empty=self.empty or "zeros",
        )
        rotary = None if told.rotary is None else told.rotary.rotary
        return Call(q, k, v, request, rotary, told.kept, told.dropout or 0.0)

    @cached_property
    def right(self) -> Right:
        """What is right, and the bounds."""
        return right_of(self.call)

    @property
    def visible(self) -> Seen:
        """Who sees whom, (B, H, T, S)."""
        documents = self.options.starts is not None
        return self.shown & (self.within_documents if documents else self.reach(*self.shape[2:]))

    @property
    def shown(self) -> Seen:
        """What mask and padding show together, (B, H, T, S)."""
        mask, padding = self.options.mask, self.options.padding
        seen: Seen = np.ones(self.shape, dtype=np.bool_)
        seen = seen if mask is None else seen & mask
        return seen if padding is None else seen & padding[:, None, None, :]

    @property
    def bias(self) -> Array | None:
        """The bias, and that of the slopes."""
        told = self.options
        bias = None if told.bias is None else told.bias.array
        if told.slopes is None:
            return bias
        slope = visibility.alibi(told.slopes.array, *self.shape[2:], self.corner)
        return slope if bias is None else bias + slope

    def reach(self, queries: int, keys: int) -> Seen:
        """What flag and window leave, (T, S)."""
        told = self.options
        seen = visibility.everything(queries, keys)
        if told.causal:
            seen = seen & visibility.causal(queries, keys, self.corner)
        if told.window is not None:
            seen = seen & visibility.window(queries, keys, *told.window, self.corner)
        return seen

    @property
    def within_documents(self) -> Seen:
        """(N, M): what each query sees of its own document."""
        queries, keys = self.options.starts or ((0,), (0,))
        seen = np.zeros(self.shape[2:], dtype=np.bool_)
        for q, r, k, s in zip(queries, queries[1:], keys, keys[1:], strict=False):
            seen[q:r, k:s] = self.reach(r - q, s - k)
        return seen

    @property
    def lengths(self) -> Lengths:
        """(documents, 2): how many queries and keys each has."""
        return np.stack([np.diff(some) for some in self.options.starts or ()], axis=-1)

    def told(self, **options: Any) -> Vector:
        """The same with other options."""
        return replace(self, options=replace(self.options, **options))
