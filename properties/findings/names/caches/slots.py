"""Wrong caches with room for all tokens, each one step of a right one done otherwise."""

from __future__ import annotations

from typing import Self

import numpy as np

from properties.basics.dtypes import Array
from properties.findings.names.caches.memory import Booleans, Integers, Kept, Memory, Read


class Slots(Memory):
    """Room for all tokens is laid out, and a new sequence is written over the old one."""

    called = ""
    longest = 0

    def begin(self) -> None:
        self.count = 0

    def fork(self) -> Self:
        return self

    def joined(self, past: Kept | None, present: Kept) -> Kept:
        """All places after this step; `step` reads some of them."""
        blank = past or self.blank(present)
        places = self.places(present.length)
        places = places[places < self.room]
        keys, values = blank.keys.copy(), blank.values.copy()
        positions, empty = blank.positions.copy(), blank.empty.copy()
        new = present.take(np.arange(len(places)))
        keys[:, places], values[:, places] = new.keys, new.values
        positions[places], empty[places] = new.positions, False
        return Kept(keys, values, positions, empty)

    def blank(self, like: Kept) -> Kept:
        """Room that holds zeros."""
        zeros = np.zeros((len(like.keys), self.room, like.keys.shape[2]))
        return Kept(zeros, zeros, np.zeros(self.room), np.ones(self.room, dtype=bool))

    def alone(self, x: Array) -> Read:
        """A call without the cache is the first step of a sequence."""
        self.begin()
        return self.step(x)

    def places(self, tokens: int) -> Integers:
        """Where the tokens of this step are written."""
        return self.count + np.arange(tokens)

    def step(self, x: Array) -> Read:
        tokens = x.shape[1]
        present = self.present(x)
        self.kept = self.joined(self.kept, present)
        self.longest = max(self.longest, self.count + tokens)
        length = self.length(tokens)
        seen = self.seen_of(tokens, length)
        self.count += tokens
        return Read(self.kept.take(np.arange(length)), seen, present.positions)

    def length(self, tokens: int) -> int:
        """How many places are read."""
        return min(self.room, self.count + tokens)

    def seen_of(self, tokens: int, length: int) -> Booleans:
        """(T, S): place s is seen by the token that belongs there and by those after it."""
        return np.tri(tokens, length, self.count, dtype=np.bool_)


class FromItsStart(Slots):
    """Every step is written at the first place."""

    called = "cache written from its start"
    look = "the place where a step is written"

    def places(self, tokens: int) -> Integers:
        return np.arange(tokens)


class Hole(Slots):
    """After a past one place stays empty, and each token is one behind."""

    called = "hole in the cache"
    look = "the place where a step is written, which is the length of the past"

    def places(self, tokens: int) -> Integers:
        return super().places(tokens) + bool(self.count)


class HoleInItsOwn(Hole):
    """The same where each sequence has room of its own."""

    def begin(self) -> None:
        self.kept, self.count = None, 0


class BeyondItsLength(Slots):
    """A single token after others sees every place there is."""

    called = "cache read beyond its length"
    look = "how many places a single token reads"

    def length(self, tokens: int) -> int:
        return self.room if self.count and tokens == 1 else super().length(tokens)

    def seen_of(self, tokens: int, length: int) -> Booleans:
        return super().seen_of(tokens, length) | (self.count > 0 and tokens == 1)


class OfAnEarlierSequence(Slots):
    """A single token sees as many places as the longest sequence had."""

    called = "keys of an earlier sequence"
    look = "whether a new sequence begins with an empty cache"

    def length(self, tokens: int) -> int:
        return self.longest

    def seen_of(self, tokens: int, length: int) -> Booleans:
        return super().seen_of(tokens, length) | (tokens == 1)


class SlotsOfTheFirst(Slots):
    """What the first item writes, every item reads."""

    called = "items share the cache"
    look = "the batch axis where keys and values are written"

    def joined(self, past: Kept | None, present: Kept) -> Kept:
        return super().joined(past, present.of_the_first())


class HandedOfTheFirst(SlotsOfTheFirst):
    """The same in a call that is handed a cache, and in no other."""

    def begin(self) -> None:
        self.kept, self.count = None, 0

    def alone(self, x: Array) -> Read:
        return Memory(self.room).step(x)


class FirstPlaceEmpty(Slots):
    """Places are counted from 1, and the first one is read all the same."""

    called = "first place of the cache empty"
    look = "the place where the first token is written"

    def begin(self) -> None:
        self.kept, self.count = None, 1

    def start(self) -> int:
        return self.count - 1

    def alone(self, x: Array) -> Read:
        return Memory(self.room).step(x)
