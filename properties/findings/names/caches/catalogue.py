"""Wrong caches, each one step of a right one done otherwise."""

from __future__ import annotations

from dataclasses import replace
from typing import Self

import numpy as np

from properties.basics.dtypes import Array
from properties.findings.names.caches.memory import Booleans, Kept, Memory, Read


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


class NewAlone(Memory):
    """The past is kept and never read."""

    called = "the past is kept and not read"
    look = "what the cache gives back: all keys and values, not those of the step alone"

    def step(self, x: Array) -> Read:
        super().step(x)
        present = self.present(x)
        return Read(present, np.tri(present.length, dtype=np.bool_), present.positions)
