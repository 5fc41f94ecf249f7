"""What a cache keeps and what each token reads of it, step by step: right here, wrong in subclasses.

What is kept are tokens, of which keys and values are made anew, so that what a wrong cache gives has
the bounds of the formula.

Legend: B batch, T tokens of a step, S tokens that are kept.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from properties.basics.dtypes import Array

Integers = NDArray[np.intp]
Booleans = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Kept:
    """Places of a cache. keys, values: (B, S, d_in), the tokens that they are made of; positions: (S,),
    by which keys are turned; empty: (S,), places that hold zeros.
    """

    keys: Array
    values: Array
    positions: Array
    empty: Booleans

    @property
    def length(self) -> int:
        """S."""
        return len(self.positions)

    def then(self, other: Kept) -> Kept:
        """These places and then the others."""
        return Kept(
            np.concatenate([self.keys, other.keys], axis=1),
            np.concatenate([self.values, other.values], axis=1),
            np.concatenate([self.positions, other.positions]),
            np.concatenate([self.empty, other.empty]),
        )

    def take(self, places: Integers) -> Kept:
        """Some of the places."""
        return Kept(
            self.keys[:, places],
            self.values[:, places],
            self.positions[places],
            self.empty[places],
        )

    def of_the_first(self) -> Kept:
        """Every item has what the first one has."""
        keys, values = (np.broadcast_to(a[:1], a.shape) for a in (self.keys, self.values))
        return replace(self, keys=keys, values=values)


@dataclass(frozen=True, eq=False)
class Read:
    """What the tokens of a step read: places, which of them each sees (T, S), and where they stand."""

    kept: Kept
    seen: Booleans
    positions: Array


class Memory:
    """A right cache. called, look: of a wrong one, its name and where to look for it; held_by_caller:
    whether it is about a past that the caller holds, or needs none.
    """

    called: ClassVar[str] = "a cache as it should be"
    look: ClassVar[str] = ""

    def __init__(self, room: int) -> None:
        """room: context_length."""
        self.room = room
        self.kept: Kept | None = None
        self.count = 0  # of the tokens that were fed

    def begin(self) -> None:
        """Forget everything."""
        self.kept, self.count = None, 0

    def fork(self) -> Self:
        """What goes on from here, and leaves this as it is."""
        return copy.copy(self)

    def step(self, x: Array) -> Read:
        """Keep the tokens x (B, T, d_in); what they read."""
        present = self.present(x)
        kept = self.kept = self.joined(self.kept, present)
        read = Read(kept, self.seen(present.length, kept.length), present.positions)
        self.count += present.length
        return read

    def present(self, x: Array) -> Kept:
        """The tokens of this step."""
        positions = self.start() + np.arange(x.shape[1], dtype=np.float64)
        return Kept(x, x, positions, np.zeros(x.shape[1], dtype=np.bool_))

    def start(self) -> int:
        """The position of the first token of this step."""
        return self.count

    def joined(self, past: Kept | None, present: Kept) -> Kept:
        """What is kept from now on."""
        return present if past is None else past.then(present)

    def seen(self, tokens: int, places: int) -> Booleans:
        """(T, S): the causal mask, aligned bottom right."""
        return np.tri(tokens, places, places - tokens, dtype=np.bool_)

    def alone(self, x: Array) -> Read:
        """What the tokens of a call without the cache read: themselves."""
        return type(self)(self.room).step(x)
