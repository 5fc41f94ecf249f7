"""Wrong caches, each one step of a right one done otherwise."""

from __future__ import annotations

from dataclasses import replace
from typing import Self

import numpy as np

from properties.basics.dtypes import Array
from properties.findings.names.caches.memory import Booleans, Integers, Kept, Memory, Read


class FromTheTopLeft(Memory):
    """Row i of a step sees the first i + 1 places."""

    called = "causal from the top left"
    look = "the rows of the mask that are taken where keys outnumber queries"

    def seen(self, tokens: int, places: int) -> Booleans:
        return np.tri(tokens, places, dtype=np.bool_)


class NoMask(Memory):
    """Everything is seen as soon as there is a past."""

    called = "no mask beside a cache"
    look = "a mask that is made for as many queries as keys alone"

    def seen(self, tokens: int, places: int) -> Booleans:
        return super().seen(tokens, places) | (tokens != places)


class NotItself(Memory):
    """The diagonal is hidden beside a past."""

    called = "a token does not see itself beside a cache"
    look = "the diagonal of the mask where keys outnumber queries"

    def seen(self, tokens: int, places: int) -> Booleans:
        return np.tri(tokens, places, places - tokens - (tokens < places), dtype=np.bool_)


class ForgetsNothing(Memory):
    """What was kept stays."""

    called = "reset forgets nothing"
    look = "what reset leaves: keys, values, a pointer"

    def begin(self) -> None:
        return


class PresentFirst(Memory):
    """New places come before the old ones."""

    called = "the present before the past"
    look = "the order in which past and present are concatenated"

    def joined(self, past: Kept | None, present: Kept) -> Kept:
        return present if past is None else present.then(past)


class FirstChunkAlone(Memory):
    """What is read has the present in it, what is kept has not."""

    called = "cache keeps the first chunk alone"
    look = "where the joined keys and values are kept again"

    def step(self, x: Array) -> Read:
        past = self.kept
        read = super().step(x)
        self.kept = read.kept if past is None else past
        return read


class LastChunkAlone(Memory):
    """What is kept is the present."""

    called = "cache keeps the last chunk alone"
    look = "where the joined keys and values are kept again"

    def step(self, x: Array) -> Read:
        read = super().step(x)
        self.kept = self.kept and self.kept.take(np.arange(read.kept.length)[-x.shape[1] :])
        return read


class UsedUnasked(Memory):
    """A call without the cache goes on from it where there is one."""

    called = "cache used unasked"
    look = "what decides whether the cache is read"

    def alone(self, x: Array) -> Read:
        return super().alone(x) if self.kept is None else self.step(x)


class SharedByItems(Memory):
    """The past is that of the first item."""

    called = "items share the cache"
    look = "the batch axis where past and present are joined"

    def joined(self, past: Kept | None, present: Kept) -> Kept:
        return super().joined(past and past.of_the_first(), present)


class NotAdvanced(Memory):
    """Every step begins at position 0."""

    called = "positions not advanced"
    look = "the offset of the angles, which is the length of the past"

    def start(self) -> int:
        return 0


class AdvancedTwice(Memory):
    """The length of the past is counted twice."""

    called = "positions advance too fast"
    look = "the offset of the angles, to which the length of the past is added twice"

    def start(self) -> int:
        return 2 * self.count


class OneBehind(Memory):
    """After a past positions begin at its last token's."""

    called = "positions one behind the cache"
    look = "the offset of the angles: the first new token stands after the last one kept"

    def start(self) -> int:
        return max(0, self.count - 1)


class TurnedAgain(Memory):
    """At every step the past is turned once more, each place by its own angle."""

    called = "cached keys rotated again"
    look = "whether keys are turned before they are kept or after they are joined"

    def joined(self, past: Kept | None, present: Kept) -> Kept:
        if past is not None:
            past = replace(past, positions=past.positions + np.arange(past.length))
        return super().joined(past, present)


class PastWrittenTo(Memory):
    """Who goes on from a past, changes it."""

    called = "past written to"
    look = "what is done in place to the past that is handed in"

    def fork(self) -> Self:
        return self


class ValuesLag(Memory):
    """Values are rolled by one against their keys."""

    called = "values of another token"
    look = "how values are joined, beside how keys are"

    def joined(self, past: Kept | None, present: Kept) -> Kept:
        whole = super().joined(past, present)
        return whole if past is None else replace(whole, values=np.roll(whole.values, 1, axis=1))


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


def below(base: type[Memory]) -> list[type[Memory]]:
    """All that derive from a form, in the order in which they are written."""
    found = []
    for form in base.__subclasses__():
        found += [form, *below(form)]
    return found


CATALOGUE = [form for form in below(Memory) if form.called]
