"""Faults of long rows: what is within one tile, one lane or one mask is right."""

from __future__ import annotations

import torch
from torch import Tensor

from properties.zoo.faults import fault
from properties.zoo.faults.dropout import Dropping
from properties.zoo.faults.plain import PlainMultiHead
from properties.zoo.wide.rotary import PlainRotary

SHORT = "rows/up-to-130-keys"
LONG = "rows/up-to-1025-keys"
LONGEST = "rows/up-to-4097-keys"
ACROSS = "dropout/independent-across-lanes-and-tiles"
TILE = 32


class Tiled(PlainMultiHead):
    """The softmax in tiles of 32 keys with a running maximum: it is right."""

    order = 1

    def normalise(self, scores: Tensor) -> Tensor:
        highest = torch.full_like(scores[..., :1], -torch.inf)
        total = torch.zeros_like(highest)
        parts: list[Tensor] = []
        for tile in scores.split(TILE, dim=-1)[:: self.order]:
            higher = self.higher(torch.maximum(highest, tile.amax(dim=-1, keepdim=True)))
            base = higher.masked_fill(torch.isneginf(higher), 0.0)  # nothing was seen so far
            shrink, exponentials = self.carry(highest - base), torch.exp(tile - base)
            total = total * shrink + exponentials.sum(dim=-1, keepdim=True)
            parts = [*(part * shrink for part in parts), exponentials]
            highest = higher
        return torch.cat(parts[:: self.order], dim=-1) / total

    def higher(self, highest: Tensor) -> Tensor:
        """The running maximum after a tile."""
        return highest

    def carry(self, fall: Tensor) -> Tensor:
        """The factor of what was summed before a tile, by how far it lies below the new maximum."""
        return torch.exp(fall)


@fault(
    "base-two-where-tiles-meet",
    SHORT,
    symptom="log2(e) once too often in a rescaling: right up to 32 keys, and then not",
)
class BaseTwoWhereTilesMeet(Tiled):
    def carry(self, fall: Tensor) -> Tensor:
        return torch.exp(1.4426950408889634 * fall)


@fault(
    "factor-with-every-tile",
    SHORT,
    symptom="what was summed before grows with every tile of 32 keys: early tokens get too much",
)
class FactorWithEveryTile(Tiled):
    def carry(self, fall: Tensor) -> Tensor:
        return super().carry(fall) * 1.4426950408889634


@fault(
    "maximum-stuck-after-a-hidden-tile",
    SHORT,
    symptom="0/0 in early rows of long texts, once all scores are far below zero",
)
class MaximumStuckAfterAHiddenTile(Tiled):
    order = -1

    def higher(self, highest: Tensor) -> Tensor:
        return highest.masked_fill(torch.isneginf(highest), 0.0)


class MaskThatEnds(PlainMultiHead):
    """Beyond so many keys nothing is hidden."""

    end: int

    def hidden(self, tokens: int) -> Tensor:
        return super().hidden(tokens) & (torch.arange(tokens) < self.end)


@fault(
    "mask-ends-at-40-keys",
    SHORT,
    symptom="the future leaks in every text longer than those of the tests",
)
class MaskEndsAt40Keys(MaskThatEnds):
    end = 40


@fault(
    "mask-ends-at-512-keys",
    LONG,
    symptom="a mask of a fixed size, padded: beyond 512 tokens the future leaks",
)
class MaskEndsAt512Keys(MaskThatEnds):
    end = 512


@fault(
    "mask-ends-at-2048-keys",
    LONGEST,
    symptom="a mask of a fixed size, padded: beyond 2048 tokens the future leaks",
)
class MaskEndsAt2048Keys(MaskThatEnds):
    end = 2048


@fault(
    "tail-tile-forgotten",
    SHORT,
    symptom="keys after the last whole tile of 32 are seen by no query",
)
class TailTileForgotten(PlainMultiHead):
    def hide(self, scores: Tensor) -> Tensor:
        keys = scores.shape[-1]
        whole = keys - keys % TILE or keys
        return super().hide(scores).masked_fill(torch.arange(keys) >= whole, -torch.inf)


@fault(
    "last-key-of-a-long-row-forgotten",
    LONG,
    symptom="a block of 256 keys ends one too soon",
)
class LastKeyOfALongRowForgotten(PlainMultiHead):
    def hide(self, scores: Tensor) -> Tensor:
        last = torch.arange(scores.shape[-1]) == 256
        return super().hide(scores).masked_fill(last & (scores.shape[-1] == 257), -torch.inf)


@fault(
    "mask-of-long-rows-in-short-formats-only",
    SHORT,
    symptom="a kernel for bfloat16 and float16 alone, and its mask ends at 64 keys",
)
class MaskOfLongRowsInShortFormatsOnly(MaskThatEnds):
    end = 64

    def hide(self, scores: Tensor) -> Tensor:
        if scores.dtype in (torch.bfloat16, torch.float16):
            return super().hide(scores)
        future = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
        return scores.masked_fill(future, -torch.inf)


@fault(
    "running-maximum-in-short-formats-only",
    SHORT,
    symptom="a kernel for bfloat16 and float16 alone forgets what came before the last tile",
)
class RunningMaximumInShortFormatsOnly(Tiled):
    def carry(self, fall: Tensor) -> Tensor:
        short = fall.dtype in (torch.bfloat16, torch.float16)
        return torch.zeros_like(fall) if short else super().carry(fall)


class Lanes(Dropping):
    """Random numbers of so many lanes, used again and again along an axis of the weights."""

    lanes: int
    axis = -1

    def lose(self, weights: Tensor) -> Tensor:
        size = weights.shape[self.axis]
        first = weights.narrow(self.axis, 0, min(size, self.lanes))
        pattern = self.pattern(*first.shape, like=weights)
        return weights * pattern.index_select(self.axis, torch.arange(size) % self.lanes)


@fault(
    "lanes-of-16-keys",
    ACROSS,
    symptom="key j and key j + 16 are dropped together, always",
)
class LanesOf16Keys(Lanes):
    lanes = 16


@fault(
    "lanes-of-64-keys",
    ACROSS,
    symptom="every tile of 64 keys drops the same ones",
)
class LanesOf64Keys(Lanes):
    lanes = 64


@fault(
    "lanes-of-128-queries",
    ACROSS,
    symptom="every tile of 128 queries drops the same weights",
)
class LanesOf128Queries(Lanes):
    lanes, axis = 128, -2


class RotaryWithAShortMask(PlainRotary):
    """Positions go on where the mask has ended: keys beyond it are seen by all."""

    reach = 100

    def hide(self, scores: Tensor) -> Tensor:
        hidden = super().hide(scores)
        hidden[..., self.reach :] = scores[..., self.reach :]
        return hidden


@fault(
    "rotary-mask-of-100-keys",
    SHORT,
    symptom="a mask of the length that was trained on: beyond it tokens see the future",
)
class RotaryMaskOf100Keys(RotaryWithAShortMask):
    pass


@fault(
    "rotary-mask-of-512-keys",
    LONG,
    symptom="a mask of 512 keys: beyond it tokens see the future",
)
class RotaryMaskOf512Keys(RotaryWithAShortMask):
    reach = 512
