"""Batch items that are mixed up, lost or made to share.

Legend: B batch, T tokens, H heads, D head_dim.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from properties.basics.dtypes import Array
from properties.findings.names.arithmetic import affine, moved
from properties.findings.names.catalogue import wrong
from properties.findings.names.formula import Formula
from properties.subjects.subject import FAMILIES, PROJECTED_FAMILIES
from properties.truth.bounds import Near, exactly

ITEMS = "an index, a slice or a flip of the batch"
Rearranged = Callable[[Array], Array]


def finished(called: str, change: Callable[[Formula, Array], Array]) -> None:
    """Enter outputs (B, T, W) that are rearranged along the batch."""

    @wrong(called, ITEMS, FAMILIES, alone=True)
    class Finished(Formula):
        """Other items."""

        def finish(self, context: Near) -> Near:
            return moved(super().finish(context), lambda array: change(self, array))


def mixed(called: str, change: Rearranged) -> None:
    """Enter contexts (B, H, T, D) that are rearranged along the batch."""

    @wrong(called, ITEMS, FAMILIES, alone=True)
    class Mixed(Formula):
        """Other items."""

        def mix(self, weights: Near, values: Near) -> Near:
            return moved(super().mix(weights, values), change)


def sharing(called: str, *shared: int) -> None:
    """Enter queries (0), keys (1) or values (2), or some of them, of the first batch item for all."""

    @wrong(called, ITEMS, FAMILIES, alone=True)
    class Shared(Formula):
        """One item's for all."""

        def project(self) -> tuple[Near, Near, Near]:
            parts = list(super().project())
            for which in shared:
                parts[which] = moved(parts[which], lambda a: np.repeat(a[:1], len(a), axis=0))
            return parts[0], parts[1], parts[2]


def without_odd_last(array: Array) -> Array:
    """Items in pairs; a last one without a partner is zero."""
    alone = len(array) > 1 and len(array) % 2 == 1
    return np.concatenate([array[:-1], 0.0 * array[-1:]]) if alone else array


def the_first(number: int) -> Rearranged:
    """Zero from an item on."""
    return lambda array: np.concatenate([array[:number], 0.0 * array[number:]])


finished("batch items in reverse order", lambda f, array: array[::-1])
finished(
    "batch items sorted by the sum of their input",
    lambda f, array: array[f.case.x.sum(axis=(1, 2)).argsort(kind="stable")],
)
finished("first batch item's output for all", lambda f, a: np.repeat(a[:1], len(a), axis=0))
mixed("last of an odd number of batch items is zero", without_odd_last)
mixed("batch items from the second on are zero", the_first(1))
mixed("batch items from the third on are zero", the_first(2))
sharing("queries of the first batch item for all", 0)
sharing("keys of the first batch item for all", 1)
sharing("values of the first batch item for all", 2)
sharing("keys and values of the first batch item for all", 1, 2)


@wrong("first batch item reads the keys of the last one", ITEMS, FAMILIES)
class FirstReadsTheLast(Formula):
    """An index of minus one."""

    def score(self, queries: Near, keys: Near) -> Near:
        def last_first(array: Array) -> Array:
            return np.concatenate([array[-1:], array[1:]])

        return super().score(queries, moved(keys, last_first))


@wrong(
    "mean over the batch subtracted from the input",
    "statistics of the batch",
    PROJECTED_FAMILIES,
)
class BatchCentred(Formula):
    """The same token of all items; a single item is left as it is."""

    def projected(self, name: str) -> Near:
        x = self.case.x
        centred = x - x.mean(axis=0, keepdims=True) if len(x) > 1 else x
        rounding = 4.0 * len(x) * self.fmt.unit_roundoff * np.abs(x).max(axis=0, keepdims=True)
        near = Near(centred, exactly(centred).error + rounding)
        return affine(near, getattr(self.parameters, name), self.bias(name), self.fmt)
