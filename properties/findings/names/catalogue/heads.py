"""Heads that are cut, mixed or put together wrongly."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from properties.basics.dtypes import Array
from properties.cases.case import Case
from properties.findings.names.arithmetic import moved, plus, times, total
from properties.findings.names.catalogue import wrong
from properties.findings.names.formula import Formula, Seen
from properties.subjects.subject import CAUSAL_FAMILIES, FAMILIES, HEADED_FAMILIES, JOINED_FAMILIES
from properties.truth import visibility
from properties.truth.bounds import Near
from properties.truth.oracle import merge
from properties.truth.parameters import Sizes

SPLIT = "the view and transpose that split the heads"
MERGE = "the transpose and reshape that merge the heads"
JOIN = "the order in which heads are put side by side"
Rearranged = Callable[[Array, Sizes], Array]


def splitting(called: str, change: Rearranged) -> None:
    """Enter a wrong way from (B, T, W) to (B, H, T, D)."""

    @wrong(called, SPLIT, JOINED_FAMILIES)
    class Split(Formula):
        """Another split."""

        def split(self, part: Near) -> Near:
            return moved(part, lambda array: change(array, self.sizes))


def merging(
    called: str, change: Rearranged, look: str = MERGE, families: frozenset[str] = JOINED_FAMILIES
) -> None:
    """Enter a wrong way from (B, H, T, D) to (B, T, W)."""

    @wrong(called, look, families)
    class Merged(Formula):
        """Another merge."""

        def merge(self, context: Near) -> Near:
            return moved(context, lambda array: change(array, self.sizes))


def both(called: str, split: Rearranged, back: Rearranged) -> None:
    """Enter a wrong split with the merge that fits it."""

    @wrong(called, f"{SPLIT}, and back", JOINED_FAMILIES)
    class Both(Formula):
        """Another split, and its inverse."""

        def split(self, part: Near) -> Near:
            return moved(part, lambda array: split(array, self.sizes))

        def merge(self, context: Near) -> Near:
            return moved(context, lambda array: back(array, self.sizes))


def viewed(array: Array, s: Sizes) -> Array:
    """(B, T, W) read as (B, H, T, D)."""
    return array.reshape(s.batch, s.heads, s.tokens, s.head_dim)


def unmerged(array: Array, s: Sizes) -> Array:
    """(B, H, T, D) read as (B, T, W)."""
    return array.reshape(s.batch, s.tokens, s.width)


def every_hth(array: Array, s: Sizes) -> Array:
    """Head h is made of the columns h, h + H, h + 2H and so on."""
    return array.reshape(s.batch, s.tokens, s.head_dim, s.heads).transpose(0, 3, 1, 2)


def taking_turns(array: Array, s: Sizes) -> Array:
    """The inverse of `every_hth`."""
    return array.transpose(0, 2, 3, 1).reshape(s.batch, s.tokens, s.width)


def heads_for_items(array: Array, s: Sizes) -> Array:
    """Heads lie first and are read as if batch items did."""
    return merge(array.transpose(1, 0, 2, 3).reshape(array.shape))


def tokens_for_items(array: Array, s: Sizes) -> Array:
    """Tokens lie first and are read as if batch items did."""
    return array.transpose(2, 0, 1, 3).reshape(s.batch, s.tokens, s.width)


def columns_first(array: Array, s: Sizes) -> Array:
    """(B, H, D, T) read as (B, T, W)."""
    return array.swapaxes(-1, -2).reshape(s.batch, s.tokens, s.width)


splitting("heads split by a view without transpose", viewed)
merging("heads merged without transpose", unmerged)
both("heads split and merged without transpose", viewed, unmerged)
both("heads interleaved: each takes every H-th column", every_hth, taking_turns)
splitting("heads interleaved by the split alone", every_hth)
merging("heads interleaved by the merge", taking_turns, families=HEADED_FAMILIES)
merging("heads in reverse order", lambda a, s: merge(a[:, ::-1]), JOIN, HEADED_FAMILIES)
merging("heads and batch items mixed by the merge", heads_for_items)
merging("tokens and batch items mixed by the merge", tokens_for_items)
merging("columns and tokens mixed by the merge", columns_first)


class First(Formula):
    """Some parts of the first head serve all heads."""

    shared: frozenset[str] = frozenset()

    @classmethod
    def fits(cls, case: Case) -> bool:
        return case.sizes.shared == 1  # else heads share by design

    def project(self) -> tuple[Near, Near, Near]:
        queries, keys, values = super().project()
        return self.of("query", queries), self.of("key", keys), self.of("value", values)

    def of(self, name: str, part: Near) -> Near:
        """The part, or the first head's columns for each head."""
        if name not in self.shared:
            return part
        dims, heads = self.sizes.head_dim, self.sizes.heads
        return moved(part, lambda array: np.tile(array[..., :dims], heads))


def sharing(called: str, *shared: str) -> None:
    """Enter a sharing of what the first head has."""

    @wrong(called, "an index of the head that is not used", HEADED_FAMILIES)
    class Shared(First):
        """The first head's for all."""

    Shared.shared = frozenset(shared)


sharing("all heads use the first head's queries", "query")
sharing("all heads use the first head's keys", "key")
sharing("all heads use the first head's values", "value")
sharing("all heads use the first head's keys and values", "key", "value")
sharing("every head is the first one", "query", "key", "value")


@wrong("every head's columns hold the mean of all heads", MERGE, HEADED_FAMILIES)
class Averaged(Formula):
    """The heads' outputs are averaged."""

    def merge(self, context: Near) -> Near:
        mean = times(total(context, 1, self.fmt), 1.0 / self.sizes.heads, self.fmt)
        return super().merge(moved(mean, lambda array: np.repeat(array, self.sizes.heads, axis=1)))


@wrong("each head's output is added to the next one's", JOIN, HEADED_FAMILIES)
class AddingUp(Formula):
    """Heads add up as they go."""

    def merge(self, context: Near) -> Near:
        heads = range(self.sizes.heads)
        parts = [Near(context.value[:, [h]], context.error[:, [h]]) for h in heads]
        sums = parts[:1]
        for part in parts[1:]:
            sums.append(plus(sums[-1], part, self.fmt))
        value, error = (
            np.concatenate([getattr(p, n) for p in sums], 1) for n in ("value", "error")
        )
        return super().merge(Near(value, error))


@wrong("number of heads ignored: one head as wide as all", SPLIT, HEADED_FAMILIES)
class OneHead(Formula):
    """All columns belong to one head, and the scale is that of its width."""

    def split(self, part: Near) -> Near:
        return moved(part, lambda array: array[:, None])

    @property
    def factor(self) -> float:
        return float(1.0 / np.sqrt(self.sizes.width))

    def merge(self, context: Near) -> Near:
        return moved(context, lambda array: array[:, 0])


@wrong("last of an odd number of heads is zero", "a loop over pairs of heads", HEADED_FAMILIES)
class LastOddHeadZero(Formula):
    """A remainder is dropped."""

    def merge(self, context: Near) -> Near:
        kept = np.arange(self.sizes.heads) < self.sizes.heads // 2 * 2
        return super().merge(moved(context, lambda array: array * kept[:, None, None]))


@wrong("last head is zero", "a loop over heads that ends early", HEADED_FAMILIES)
class LastHeadZero(Formula):
    """One head too few, unless there is one alone."""

    def merge(self, context: Near) -> Near:
        kept = np.arange(self.sizes.heads) < max(1, self.sizes.heads - 1)
        return super().merge(moved(context, lambda array: array * kept[:, None, None]))


@wrong("first key not seen in the last head", "an index of the heads", HEADED_FAMILIES, alone=True)
class FirstKeyHiddenInTheLastHead(Formula):
    """But by the first query, and unless there is one head alone."""

    def seen(self) -> Seen:
        s = self.sizes
        head, query, key = (np.arange(n) for n in (s.heads, s.tokens, s.tokens))
        last = (head == s.heads - 1) & (s.heads > 1)
        return super().seen() & ~(last[:, None, None] & (query[:, None] > 0) & (key == 0))


@wrong("keys reshaped where a transpose is meant", "the transpose of the keys", FAMILIES)
class KeysReshaped(Formula):
    """(B, H, T, D) read as (B, H, D, T)."""

    def score(self, queries: Near, keys: Near) -> Near:
        def turned(array: Array) -> Array:
            batch, heads, tokens, dims = array.shape
            return array.reshape(batch, heads, dims, tokens).swapaxes(-1, -2)

        return super().score(queries, moved(keys, turned))


class OverAnotherAxis(Formula):
    """Attention along another axis than that of the tokens."""

    hides = True

    def length(self) -> int:
        """How long the axis is."""
        raise NotImplementedError

    def seen(self) -> Seen:
        sees = visibility.causal if self.case.causal and self.hides else visibility.everything
        return sees(self.length(), self.length())


@wrong("attention over the heads, not the tokens", SPLIT, JOINED_FAMILIES, alone=True)
class OverHeads(OverAnotherAxis):
    """(B, T, H, D) is given where (B, H, T, D) is wanted."""

    def length(self) -> int:
        return self.sizes.heads

    def split(self, part: Near) -> Near:
        return moved(super().split(part), lambda array: array.swapaxes(1, 2))

    def merge(self, context: Near) -> Near:
        return super().merge(moved(context, lambda array: array.swapaxes(1, 2)))


@wrong("attention over the heads, not the tokens", SPLIT, JOINED_FAMILIES, alone=True)
class OverAllHeads(OverHeads):
    """The same without a mask."""

    hides = False


@wrong(
    "attention over the batch, not the tokens",
    "the order of batch and tokens",
    FAMILIES,
    alone=True,
)
class OverTheBatch(OverAnotherAxis):
    """(T, B, d_in) is wanted where (B, T, d_in) is given."""

    def length(self) -> int:
        return self.sizes.batch

    def split(self, part: Near) -> Near:
        return super().split(moved(part, lambda array: array.swapaxes(0, 1)))

    def merge(self, context: Near) -> Near:
        return moved(super().merge(context), lambda array: array.swapaxes(0, 1))


@wrong(
    "attention over the batch, not the tokens",
    "the order of batch and tokens",
    CAUSAL_FAMILIES,
    alone=True,
)
class OverAllOfTheBatch(OverTheBatch):
    """The same without a mask."""

    hides = False


class OfTheFirstItem(Formula):
    """The scores of the first batch item serve all."""

    def scale(self, scores: Near) -> Near:
        first = moved(scores, lambda array: np.repeat(array[:1], len(array), axis=0))
        return super().scale(first)


wrong("scores of the first batch item for all", "an index of the batch", FAMILIES)(OfTheFirstItem)


@wrong("last coordinate of queries and keys ignored", "a slice of queries or keys", FAMILIES)
class LastCoordinateIgnored(Formula):
    """A slice ends one too early."""

    def score(self, queries: Near, keys: Near) -> Near:
        end = max(1, self.sizes.head_dim - 1)
        cut = (moved(part, lambda array: array[..., :end]) for part in (queries, keys))
        return super().score(*cut)


@wrong("odd last coordinate of queries and keys ignored", "steps of two over head_dim", FAMILIES)
class OddCoordinateIgnored(Formula):
    """Two coordinates at a time, and a remainder dropped."""

    def score(self, queries: Near, keys: Near) -> Near:
        end = max(1, self.sizes.head_dim // 2 * 2)
        cut = (moved(part, lambda array: array[..., :end]) for part in (queries, keys))
        return super().score(*cut)
