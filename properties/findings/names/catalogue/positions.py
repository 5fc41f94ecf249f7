"""What is right up to some number of keys, and then not.

Legend: B batch, T tokens, H heads.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from properties.basics.dtypes import Array
from properties.cases.case import Case
from properties.findings.names.catalogue import wrong
from properties.findings.names.catalogue.mask import places, triangle
from properties.findings.names.formula import Formula, Masked, Seen
from properties.subjects.subject import CAUSAL_FAMILIES, FAMILIES
from properties.truth.bounds import Near
from properties.truth.parameters import Sizes

LIMIT = "a mask, a buffer or a block of a fixed size"
TILE = "how tiles are put together: the rescaling by the running maximum"
LOG2E = 1.4426950408889634
FEW = (*range(2, 33), 40, 48, 50, 64, 96, 100, 128)
MANY = (255, 256, 511, 512, 1000, 1023, 1024)
Tiles = NDArray[np.int_]
TILES = (8, 16, 32, 64, 128, 256)


def beyond(
    called: str, number: int, seen: Callable[[Sizes, Seen], Seen], families: frozenset[str]
) -> None:
    """Enter what is seen where there are more than so many keys: seen(sizes, as it should be)."""

    @wrong(called, LIMIT, families, alone=True)
    class Beyond(Formula):
        """Right up to there."""

        reaches = number

        @classmethod
        def fits(cls, case: Case) -> bool:
            return super().fits(case) and case.sizes.tokens > number

        def seen(self) -> Seen:
            return seen(self.sizes, super().seen())


def window(number: int) -> Callable[[Sizes, Seen], Seen]:
    """The last so many keys."""
    return lambda s, own: own & ~triangle(-number)(s)


def mask_ends(number: int) -> Callable[[Sizes, Seen], Seen]:
    """Keys that the mask does not reach are seen by all."""
    return lambda s, own: own | (places(s.tokens)[1] >= number)


def keys_end(number: int) -> Callable[[Sizes, Seen], Seen]:
    """Keys beyond are seen by none."""
    return lambda s, own: own & (places(s.tokens)[1] < number)


def first_evicted(number: int) -> Callable[[Sizes, Seen], Seen]:
    """Later queries do not see the first key."""
    return lambda s, own: own & ~((places(s.tokens)[0] >= number) & (places(s.tokens)[1] == 0))


def whole_tiles(number: int) -> Callable[[Sizes, Seen], Seen]:
    """Keys after the last whole tile are seen by none."""
    return lambda s, own: own & (places(s.tokens)[1] < s.tokens // number * number)


for number in (*FEW, *MANY):
    beyond(f"mask ends at {number} keys", number, mask_ends(number), CAUSAL_FAMILIES)
for number in FEW:
    beyond(f"last {number} keys alone are seen", number, window(number), CAUSAL_FAMILIES)
    beyond(
        f"keys from number {number} on are not seen", number, keys_end(number), frozenset(FAMILIES)
    )
for number in FEW:
    beyond(
        f"first key not seen by queries from number {number} on",
        number,
        first_evicted(number),
        CAUSAL_FAMILIES,
    )
for number in TILES:
    beyond(
        f"keys after the last whole tile of {number} are not seen",
        number,
        whole_tiles(number),
        frozenset(FAMILIES),
    )


def by_tile(called: str, number: int, bias: Callable[[Near, Seen, Tiles], Array]) -> None:
    """Enter scores that get a bias from tile to tile: bias(scores, seen, number of each key's tile)."""

    @wrong(called, TILE, FAMILIES, alone=True)
    class ByTile(Formula):
        """A factor where tiles meet."""

        @classmethod
        def fits(cls, case: Case) -> bool:
            return super().fits(case) and case.sizes.tokens > number

        def hide(self, scores: Near) -> Masked:
            masked = super().hide(scores)
            added = bias(scores, masked.seen, np.arange(self.sizes.tokens) // number)
            off = scores.error.max() + 16.0 * self.fmt.unit_roundoff * (1.0 + np.abs(added))
            return Masked(Near(scores.value + added, scores.error + off), masked.seen)


def a_factor(scores: Near, seen: Seen, tile: Tiles) -> Array:
    """What was summed before grows by log2(e) with every tile."""
    return np.broadcast_to(-np.log(LOG2E) * tile, scores.value.shape)


def base_two(scores: Near, seen: Seen, tile: Tiles) -> Array:
    """The running maximum falls log2(e) times as far: (log2(e) - 1) times the maximum so far."""
    shown = np.where(seen, scores.value, -np.inf)
    ends = np.flatnonzero(np.diff(tile, append=tile[-1] + 1))
    so_far = np.maximum.accumulate(shown, axis=-1)[..., ends][..., tile]
    return (LOG2E - 1.0) * np.where(np.isinf(so_far), 0.0, so_far)


for number in TILES:
    by_tile(f"a factor log2(e) with every tile of {number} keys", number, a_factor)
    by_tile(f"powers of 2 where tiles of {number} keys meet", number, base_two)


@wrong("last key not seen", "a range that ends one too early", FAMILIES)
class LastKeyNotSeen(Formula):
    """By any query; of a single key by none."""

    def seen(self) -> Seen:
        return super().seen() & (places(self.sizes.tokens)[1] < self.sizes.tokens - 1)
