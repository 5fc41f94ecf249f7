"""What the weights of shared heads of keys and values learn, where their output is right.

Legend: H heads of queries, G heads of keys and values.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from properties.basics.dtypes import Array
from properties.cases import groups
from properties.cases.case import Case, parameters
from properties.findings.names.probes import probe
from properties.findings.names.probes.backward import GRADIENTS

LAW = "groups/weights-get-the-gradients-of-all-their-heads"
Kept = Callable[[Array], Array]


def learns(case: Case, kept: Kept) -> bool:
    """Whether the weights of keys, of values, or of both, have the gradients of their copies after
    `kept`, (..., G, H / G, D) -> the same, are summed; and what has not is right.
    """
    if not case.known or case.weights is None or case.sizes.shared == 1:
        return False
    found = parameters(
        case.subject.collect(case.build().gradients(case.x, case.upstream), case.config())
    )
    every, s = groups.written_out(case), case.sizes
    copies, off = (parameters(g.parameters) for g in (every.gradients, every.gradient_budget))
    allowed = groups.summed_over_groups(off, case)
    right = groups.summed_over_groups(copies, case)

    def otherwise(array: Array) -> Array:
        split = array.reshape(*array.shape[:-1], s.key_heads, s.shared, s.head_dim)
        return kept(split).reshape(array.shape)

    wrong = groups.summed_over_groups({n: otherwise(copies[n]) for n in ("key", "value")}, case)
    told = False
    for name, expected in wrong.items():
        if name not in found:
            return False
        near, right_near = (
            bool((np.abs(found[name] - part) <= 2.0 * allowed[name]).all())
            for part in (expected, right[name])
        )
        told = told or (near and not right_near)
        if not (near or right_near):
            return False
    return told


def alone(reader: int) -> Kept:
    """That of one head of a group."""

    def kept(copies: Array) -> Array:
        only = np.zeros_like(copies)
        only[..., reader, :] = copies[..., reader, :]
        return only

    return kept


def of_one_head(case: Case) -> bool:
    """Of the first of each group, or of the last."""
    return learns(case, alone(0)) or learns(case, alone(-1))


def averaged(case: Case) -> bool:
    """The mean in place of the sum."""
    return learns(case, lambda copies: copies / copies.shape[-2])


LEARNING = {
    "gradient of one head of a group": of_one_head,
    "gradient of a group averaged": averaged,
}
"""The question that tells each name."""
for called, asks in LEARNING.items():
    probe(called, "the backward pass of the heads of a group", GRADIENTS | {LAW})(asks)
