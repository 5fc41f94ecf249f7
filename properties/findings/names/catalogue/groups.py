"""Heads of keys and values that are shared wrongly.

Legend: B batch, T tokens, H heads of queries, G heads of keys and values, D head_dim.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from properties.basics.dtypes import Array
from properties.cases.case import Case
from properties.findings.names.arithmetic import moved, total
from properties.findings.names.catalogue import wrong
from properties.findings.names.formula import Formula
from properties.subjects.subject import JOINED_FAMILIES
from properties.truth.attend import repeated
from properties.truth.bounds import Near
from properties.truth.parameters import Sizes

SHARING = "how keys and values are repeated for the heads of a group"
BOTH = frozenset({"key", "value"})
Shared = Callable[[Array, Sizes], Array]


class Grouped(Formula):
    """Of modules that can be told how many heads of keys and values there are."""

    @classmethod
    def fits(cls, case: Case) -> bool:
        return case.subject.has("groups")


def sharing(called: str, change: Shared, names: frozenset[str] = BOTH, look: str = SHARING) -> None:
    """Enter another way from (B, G, T, D) to (B, H, T, D)."""

    @wrong(called, look, JOINED_FAMILIES)
    class Otherwise(Grouped):
        """Another head of keys or values for some heads of queries."""

        def share(self, name: str, heads: Array) -> Array:
            return change(heads, self.sizes) if name in names else super().share(name, heads)


def tiled(heads: Array, s: Sizes) -> Array:
    """Head h reads group h % G."""
    return np.tile(heads, (1, s.shared, 1, 1))


def along_time(heads: Array, s: Sizes) -> Array:
    """The axis of tokens is stretched and cut into heads."""
    return np.repeat(heads, s.shared, axis=2).reshape(s.batch, s.heads, s.tokens, s.head_dim)


def first_for_all(heads: Array, s: Sizes) -> Array:
    """The other heads of keys and values are never read."""
    return np.repeat(heads[:, :1], s.heads, axis=1)


def last_for_all(heads: Array, s: Sizes) -> Array:
    """A loop that overwrites."""
    return np.repeat(heads[:, -1:], s.heads, axis=1)


def by_number_of_groups(heads: Array, s: Sizes) -> Array:
    """Head h reads number h // G, the last one where there is none."""
    return heads[:, np.minimum(np.arange(s.heads) // s.key_heads, s.key_heads - 1)]


def mean_of_all(heads: Array, s: Sizes) -> Array:
    """What a checkpoint is converted by, left in."""
    return np.repeat(heads.mean(axis=1, keepdims=True), s.heads, axis=1)


def in_reverse(heads: Array, s: Sizes) -> Array:
    """The first heads read the last group."""
    return repeated(heads[:, ::-1], s.heads)


def other_for_the_last(other: Callable[[Array], Array]) -> Shared:
    """The last head of each group reads something else: other(heads), (B, 1, T, D)."""

    def change(heads: Array, s: Sizes) -> Array:
        last = np.arange(s.heads) % s.shared == s.shared - 1
        own = repeated(heads, s.heads)
        return np.where(last[:, None, None] & (s.shared > 1), other(heads), own)

    return change


def mean(heads: Array) -> Array:
    """Of all groups."""
    return np.asarray(heads.mean(axis=1, keepdims=True))


KEY = frozenset({"key"})
sharing("last head of a group reads no keys", other_for_the_last(lambda h: 0.0 * h[:, :1]), KEY)
sharing("last head of a group reads the mean of all keys", other_for_the_last(mean), KEY)
sharing("groups tiled", tiled)
sharing("groups of the keys tiled", tiled, KEY)
sharing("groups of the values tiled", tiled, frozenset({"value"}))
sharing("groups repeated along time", along_time)
sharing("first group for all heads", first_for_all)
sharing("last group for all heads", last_for_all)
sharing("head divided by the number of groups", by_number_of_groups)
sharing("mean of all groups for all heads", mean_of_all)
sharing("groups in reverse order", in_reverse)


def of_columns(a: Array, s: Sizes) -> Array:
    """(B, T, G * D) whose columns are those of (D, G)."""
    return a.reshape(*a.shape[:-1], s.head_dim, s.key_heads).swapaxes(-1, -2).reshape(a.shape)


@wrong(
    "columns of keys and values in another order",
    "the view that splits their heads",
    JOINED_FAMILIES,
)
class ColumnsAcrossHeads(Grouped):
    """(D, G) is read where (G, D) was written."""

    def for_all_heads(self, name: str, part: Near) -> Near:
        if name in BOTH:
            part = moved(part, lambda a: of_columns(a, self.sizes))
        return super().for_all_heads(name, part)


@wrong("queries of a group summed", "the product of queries and keys", JOINED_FAMILIES, alone=True)
class QueriesSummed(Grouped):
    """The heads of a group have one pattern of weights."""

    def score(self, queries: Near, keys: Near) -> Near:
        s = self.sizes
        split = moved(queries, lambda a: a.reshape(s.batch, s.key_heads, s.shared, s.tokens, -1))
        summed = total(split, 2, self.fmt)
        return super().score(moved(summed, lambda a: repeated(a[:, :, 0], s.heads)), keys)


@wrong("scale by the width of a group", "what the scores are divided by", JOINED_FAMILIES)
class ByTheWidthOfAGroup(Grouped):
    """The root of d_out / G in place of head_dim."""

    @property
    def factor(self) -> float:
        return float((self.sizes.head_dim * self.sizes.shared) ** -0.5)
