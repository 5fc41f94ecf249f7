"""What becomes of two layers that share one cache, and of the index of each: wrong ways, by what they give.

Legend: B batch, T tokens, S places of a cache.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache

import numpy as np

from properties.basics.dtypes import Array
from properties.basics.errors import OutsideError, SubjectError
from properties.cases.case import Case
from properties.cases.steps import in_layers
from properties.cases.strategies import PLAIN_SIZES, coincide, make_case
from properties.findings.names.caches.memory import Kept, Memory, Read
from properties.findings.names.caches.standin import given
from properties.findings.names.caches.told import told_apart_in
from properties.subjects.subject import Subject

CLAUSE = "cache/layers-keep-their-own"
IN_ONE_PLACE = "every layer writes to one place of the cache"
FIRST_ALONE = "every layer reads the keys of the first"
LOOK = "the index of the layer by which the cache is written and read"
Reads = list[tuple[Read, Read]]


def named(case: Case) -> list[str]:
    """The way in which layers meet, as far as it agrees with all that the subject gives."""
    return [f"{way}; look for {LOOK}" for way in fitting(case.subject)]


@lru_cache(maxsize=2)
def fitting(subject: Subject) -> tuple[str, ...]:
    """The ways that agree with five tokens of two items, fed one by one to two layers by turns."""
    sizes = coincide(replace(PLAIN_SIZES, heads=2), "all different", subject)
    case = make_case(subject, sizes, told_apart_in(subject), "ordinary", False, 0.5, 1, seed=3)
    try:
        found = in_layers(case, [1] * case.sizes.tokens)
    except (SubjectError, OutsideError):
        return ()
    ways = {IN_ONE_PLACE: in_one_place(case), FIRST_ALONE: of_the_first(case)}
    return tuple(name for name, reads in ways.items() if agrees(case, found, reads))


def in_one_place(case: Case) -> Reads:
    """What each layer reads, token by token: all that either of them has kept so far."""
    kept, reads = None, []
    for pair in of_tokens(case):
        both = []
        for present in pair:
            kept = present if kept is None else kept.then(present)
            both.append(Read(kept, np.ones((1, kept.length), dtype=np.bool_), present.positions))
        reads.append((both[0], both[1]))
    return reads


def of_the_first(case: Case) -> Reads:
    """The same where both read what the first one has kept."""
    kept, reads = None, []
    for present, _ in of_tokens(case):
        kept = present if kept is None else kept.then(present)
        read = Read(kept, np.ones((1, kept.length), dtype=np.bool_), present.positions)
        reads.append((read, read))
    return reads


def of_tokens(case: Case) -> Iterator[tuple[Kept, Kept]]:
    """Each token of both layers, as it is kept."""
    memory = Memory(case.sizes.context_length)
    for token in range(case.sizes.tokens):
        memory.count = token
        first, second = (memory.present(x[:, token : token + 1]) for x in (case.x, case.other))
        yield first, second


def agrees(case: Case, found: tuple[Array, Array], reads: Reads) -> bool:
    """Whether the outputs (B, T, W) of both layers are those of such reads, within their bounds."""
    for token, pair in enumerate(reads):
        for x, outputs, read in zip((case.x, case.other), found, pair, strict=True):
            output, allowed = given(x[:, token : token + 1], read, case)
            if not (np.abs(outputs[:, token : token + 1] - output) <= allowed).all():
                return False
    return True
