"""What one call is given besides x: drawn once, and each law takes the parts that it asks about.

Legend: B batch, T tokens, G key-value heads, H = G * n query heads, D head_dim, S keys.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

from properties.basics.dtypes import Array

AXES = {
    "queries": "BHTD",
    "keys": "BGSD",
    "values": "BGSD",
    "mask": "BHTS",
    "bias": "BHTS",
    "padding": "BS",
    "slopes": "H",
    "documents": "B2",
    "segments": "BT",
    "context": "BUC",
    "context_mask": "BHTU",
    "context_bias": "BHTU",
    "context_padding": "BU",
    "context_key": "CGD",
    "context_value": "CGD",
}
"""The axes of each array; U: tokens of a context, C: its columns, whose projections are there where C is
a size of its own; 2: queries and keys. What is called mask or padding holds 1 where a key is seen and 0
where it is hidden.
"""


@dataclass(frozen=True, eq=False)
class Call:
    """Arrays by their names in `AXES`, float64; numbers: scale, cap, left and right of a window.

    shared: how many query heads read one head of keys and values; own_keys: whether keys are other
    tokens than queries, so that S is a size of its own, else S is T; own_heads: whether G is another
    number than that of the case's heads; own_width: whether C is another than that of the case's x.
    """

    arrays: Mapping[str, Array]
    numbers: Mapping[str, float] = field(default_factory=dict)
    shared: int = 1
    own_keys: bool = True
    own_heads: bool = False
    own_width: bool = False

    def data(self) -> dict[str, Any]:
        """Plain data, complete."""
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        return named | {"arrays": {name: array.tolist() for name, array in self.arrays.items()}}

    @property
    def keys(self) -> int:
        """S."""
        return self.size("S")

    @property
    def others(self) -> int:
        """How many keys there are that are other tokens than the queries: of a context, or S; 0: none."""
        if "context" in self.arrays:
            return self.size("U")
        return self.keys if self.own_keys else 0

    def size(self, letter: str) -> int:
        """The length of an axis."""
        return next(
            a.shape[AXES[name].index(letter)]
            for name, a in self.arrays.items()
            if letter in AXES[name]
        )

    def take(
        self,
        *,
        batch: Sequence[int],
        tokens: Sequence[int],
        heads: Sequence[int],
        dims: Sequence[int],
        keys: Sequence[int] | None = None,
        readers: Sequence[int] | None = None,
        inputs: Sequence[int] | None = None,
    ) -> Call:
        """Only these items, queries, heads of keys and values (with their queries), columns, keys; inputs:
        columns of x, and of a context that is as wide.

        readers: those kept of the heads of queries that read each head of keys; None: all.
        """
        readers = range(self.shared) if readers is None else readers
        kept = {"B": batch, "T": tokens, "D": dims, "S": keys if self.own_keys else tokens}
        kept |= {"U": keys, "C": None if self.own_width else inputs}
        if not self.own_heads:
            kept |= {"G": heads, "H": [head * self.shared + n for head in heads for n in readers]}
        arrays = {name: taken(a, AXES[name], kept) for name, a in self.arrays.items()}
        return replace(self, arrays=arrays, shared=len(readers))

    def map_arrays(self, change: Callable[[str, Array], Array]) -> Call:
        """The call with each array replaced by change(name, array)."""
        return replace(self, arrays={name: change(name, a) for name, a in self.arrays.items()})


def taken(array: Array, axes: str, kept: Mapping[str, Sequence[int] | None]) -> Array:
    """The array with only what is kept of each axis; None and an axis not named: all of it."""
    for axis, letter in enumerate(axes):
        indices = kept.get(letter)
        if indices is not None:
            array = np.take(array, list(indices), axis=axis)
    return array
