"""Cases of modules in which several heads of queries read one head of keys and values, asked otherwise.

Legend: H heads of queries, G heads of keys and values, D head_dim.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from properties.basics.dtypes import Array
from properties.cases.case import Case, parameters

OF_KEYS = ("key", "value", "key_bias", "value_bias")


def written_out(case: Case) -> Case:
    """The module with as many heads of keys and values as of queries: each of the G is copied to the
    H / G heads that read it.
    """
    shared = case.sizes.shared
    copied = changed(case, lambda heads: np.repeat(heads, shared, axis=-2))
    return replace(copied, sizes=replace(case.sizes, groups=0))


def summed_over_groups(arrays: Mapping[str, Array], case: Case) -> dict[str, Array]:
    """Arrays like the weights of `written_out(case)` in the shapes of the case's own: those of keys and
    values are summed over the heads of a group.
    """
    s = case.sizes

    def summed(array: Array) -> Array:
        split = array.reshape(*array.shape[:-1], s.key_heads, s.shared, s.head_dim)
        return np.asarray(split.sum(axis=-2)).reshape(*array.shape[:-1], s.key_width)

    return {name: summed(a) if name in OF_KEYS else a for name, a in arrays.items()}


def with_equal_heads(case: Case) -> Case:
    """The case in which every head of keys and values has the weights of the first."""
    return changed(case, lambda heads: np.repeat(heads[..., :1, :], heads.shape[-2], axis=-2))


def with_one_group(case: Case) -> Case:
    """The module with the first head of keys and values alone, which all heads read."""
    alone = changed(case, lambda heads: heads[..., :1, :])
    return replace(alone, sizes=replace(case.sizes, groups=1 if case.sizes.heads > 1 else 0))


def with_head_negated(case: Case, group: int, role: str) -> Case:
    """The case in which one head's keys, or its values, have the other sign; role: "key" or "value"."""

    def negated(heads: Array) -> Array:
        other = heads.copy()
        other[..., group, :] *= -1.0
        return other

    return changed(case, negated, (role, f"{role}_bias"))


def changed(case: Case, change: Callable[[Array], Array], names: tuple[str, ...] = OF_KEYS) -> Case:
    """The case with these weights, (..., G, D), through `change`."""
    if case.weights is None:
        raise ValueError(f"{case.subject.name} has no weights that can be set")
    s, kept = case.sizes, parameters(case.weights)

    def through(array: Array) -> Array:
        heads = change(array.reshape(*array.shape[:-1], s.key_heads, s.head_dim))
        return heads.reshape(*array.shape[:-1], heads.shape[-2] * s.head_dim)

    arrays = {name: through(kept[name]) for name in names if name in kept}
    return replace(case, weights=replace(case.weights, **arrays))
