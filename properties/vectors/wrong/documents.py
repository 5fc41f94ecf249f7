"""Packed documents that end the loop, are skipped, or have another one's corner."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from properties.truth import visibility
from properties.truth.request import Seen
from properties.vectors.call import Call
from properties.vectors.vector import Vector
from properties.vectors.wrong import step


def of_queries(vector: Vector, kept: Seen) -> Call:
    """With the queries of some documents alone; those of the others see nothing. kept: one for each."""
    rows = np.repeat(kept, vector.lengths[:, 0])
    return vector.call.seeing(rows[:, None])


@step("empty documents end the loop")
def end_the_loop(vector: Vector) -> Call | None:
    """`break` for `continue`: after a document without tokens all others give zeros."""
    if not vector.options.starts or vector.lengths.all():
        return None
    return of_queries(vector, np.cumsum((vector.lengths == 0).any(axis=1)) == 0)


@step("documents of one token skipped")
def single_tokens(vector: Vector) -> Call | None:
    """A document of one query, as in decoding, gives zeros."""
    if not vector.options.starts or not (vector.lengths[:, 0] == 1).any():
        return None
    return of_queries(vector, vector.lengths[:, 0] != 1)


@step("corner of the first document for all")
def first_corner(vector: Vector) -> Call | None:
    """The diagonal lies in each document where it lies in the first one."""
    if not vector.options.starts or not vector.options.causal:
        return None
    (queries, keys), *_ = vector.lengths.tolist()
    seen = np.zeros(vector.shape[2:], dtype=np.bool_)
    every = zip(*vector.options.starts, vector.lengths.tolist(), strict=False)
    for q, k, (own, theirs) in every:
        ahead = visibility.ahead(own, theirs) - (keys - queries)
        seen[q : q + own, k : k + theirs] = ahead <= 0
    call = vector.call
    return replace(call, request=replace(call.request, visible=seen))
