"""What a wrong call looks like: the weights by which it mixed, read through one-hot values, or its output.

Legend: B batch, H query heads, G key-value heads, T queries, S keys.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from properties.basics.errors import OutsideError, SubjectError
from properties.cases.case import Case
from properties.cases.question import Question
from properties.findings.names.calls.standin import heard
from properties.findings.pictures import Picture, off, worst
from properties.truth.oracle import split

LARGEST = 300  # keys of a row that is drawn


def call_pictures(clause: str, case: Case) -> Iterator[Picture]:
    """Of what a clause asked until it failed, the calls that were answered wrongly."""
    for item in heard(clause, case):
        if item.answer is None or item.right or item.asked.shape[3] > LARGEST:
            continue
        yield from weights(item.asked)
        yield from output(item.asked)


def weights(asked: Question) -> Iterator[Picture]:
    """With value j one in column j and zero elsewhere, a row of the output is a row of weights. Nothing
    where the function takes no values of that width.
    """
    if not asked.function:
        return
    batch, heads, _, keys = asked.shape
    groups = asked.inputs["keys"].shape[1]
    one_hot = np.broadcast_to(np.eye(keys), (batch, groups, keys, keys)).copy()
    told = asked.with_inputs({**asked.inputs, "values": one_hot})
    try:
        found = told.answer().output
    except (SubjectError, OutsideError):
        return
    expected, allowed = told.truth.output, told.truth.allowed
    if found.shape == expected.shape:
        grids = [split(part, heads) for part in (expected, found, allowed)]
        b, h = worst(off(grids[1], grids[0], grids[2]))
        title = f"Weights of {asked.words}, batch item {b}, head {h}"
        yield Picture("weights", title, "query", "key", *(part[b, h] for part in grids))


def output(asked: Question) -> Iterator[Picture]:
    """The output of the item that is furthest off."""
    found, truth = asked.answer().output, asked.truth
    if found.shape == truth.output.shape:
        b = worst(off(found, truth.output, truth.allowed))[0]
        grids = (part[b] for part in (truth.output, found, truth.allowed))
        yield Picture(
            "output", f"Output of {asked.words}, batch item {b}", "query", "output column", *grids
        )
