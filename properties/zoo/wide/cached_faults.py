"""Causal modules that keep keys and values wrongly."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from properties.zoo.wide import held
from properties.zoo.wide.cached import CachedByTheCaller, CachedInside, CachedInSlots, future

wrong = partial(held, kind="cached", area="cache")
rotary = partial(wrong, pairs="halves")


@wrong(
    "cached-mask-from-the-top-left",
    named="causal from the top left",
    how="chunks",
    symptom="after a prompt, a chunk sees the start of the prompt alone",
    source="rasbt/LLMs-from-scratch#697",
)
class CachedMaskFromTheTopLeft(CachedInside):
    def hidden(self, queries: int, keys: int) -> Tensor:
        return future(keys, keys)[:queries]


@wrong(
    "cached-no-mask-beside-a-cache",
    named="no mask beside a cache",
    how="chunks",
    symptom="right token by token; in a chunk of several tokens each sees those after it",
)
class NoMaskBesideACache(CachedInside):
    def hidden(self, queries: int, keys: int) -> Tensor:
        hidden = super().hidden(queries, keys)
        return hidden if queries == keys else torch.zeros_like(hidden)


@wrong(
    "cached-reset-forgets-nothing",
    named="reset forgets nothing",
    how="reset",
    symptom="the second sequence continues the first",
    source="rasbt/LLMs-from-scratch#925",
)
class ResetForgetsNothing(CachedInside):
    def reset_cache(self) -> None:
        self.register_buffer("cache", None, persistent=False)


@wrong(
    "cached-present-before-the-past",
    named="the present before the past",
    how="chunks",
    symptom="right token by token; in a chunk the mask hides the past",
)
class PresentBeforeThePast(CachedInside):
    def join(self, past: Tensor, present: Tensor) -> Tensor:
        return torch.cat([present, past], dim=2)


@wrong(
    "cached-first-chunk-alone",
    named="cache keeps the first chunk alone",
    how="token by token",
    symptom="the second token after the prompt does not see the first",
)
class FirstChunkAlone(CachedInside):
    def remember(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        if self.cache_k is None or self.cache_v is None:
            return super().remember(keys, values)
        return self.join(self.cache_k, keys), self.join(self.cache_v, values)


@wrong(
    "cached-own-key-forgotten",
    named="a token does not see itself beside a cache",
    how="token by token",
    symptom="a decoded token reads the past and not itself",
)
class OwnKeyForgotten(CachedInside):
    def hidden(self, queries: int, keys: int) -> Tensor:
        hidden = super().hidden(queries, keys)
        if queries < keys:
            hidden[:, keys - queries :].fill_diagonal_(True)
        return hidden


@wrong(
    "cached-unasked",
    named="cache used unasked",
    how="without the cache",
    symptom="a training step after decoding continues what was decoded",
)
class CachedUnasked(CachedInside):
    def forward(self, x: Tensor, use_cache: bool = False) -> Tensor:
        """(B, T, d_in) -> (B, T, d_out)."""
        return super().forward(x, use_cache or self.cache_k is not None)


@wrong(
    "cached-past-of-the-first-item",
    named="items share the cache",
    how="token by token",
    symptom="all items of a batch have the first one's past",
)
class PastOfTheFirstItem(CachedInside):
    def join(self, past: Tensor, present: Tensor) -> Tensor:
        return super().join(past[:1].expand_as(past), present)


@rotary(
    "cached-positions-not-advanced",
    named="positions not advanced",
    how="token by token",
    symptom="every decoded token stands at position 0",
    source="VeloxQuant-MLX#389",
)
class PositionsNotAdvanced(CachedByTheCaller):
    def start(self, length: int) -> int:
        return 0


@rotary(
    "cached-positions-advance-twice",
    named="positions advance too fast",
    how="chunks",
    symptom="the length of the past is added to an offset that has it already",
    source="skyzh/tiny-llm#46",
)
class PositionsAdvanceTwice(CachedByTheCaller):
    def start(self, length: int) -> int:
        return 2 * length


@rotary(
    "cached-keys-rotated-again",
    named="cached keys rotated again",
    how="chunks",
    symptom="positions are applied to the whole cache at every call",
    source="NeuraLegion/shainet#110",
)
class KeysRotatedAgain(CachedByTheCaller):
    def extend(self, past: list[Tensor], keys: Tensor, values: Tensor) -> list[Tensor]:
        turned = self.rotate(past[0], self.angles[: past[0].shape[2]])
        return super().extend([turned, past[1]], keys, values)


@rotary(
    "cached-past-written-to",
    area="memory",
    named="past written to",
    how="two continuations of one past",
    symptom="beams that share a prompt see each other's tokens",
)
class PastWrittenTo(CachedByTheCaller):
    def extend(self, past: list[Tensor], keys: Tensor, values: Tensor) -> list[Tensor]:
        past[:] = super().extend(past, keys, values)
        return past


@rotary(
    "cached-values-lag-behind",
    named="values of another token",
    how="chunks",
    symptom="values are rolled by one against their keys once there is a past",
)
class ValuesLagBehind(CachedByTheCaller):
    def extend(self, past: list[Tensor], keys: Tensor, values: Tensor) -> list[Tensor]:
        whole = super().extend(past, keys, values)
        return [whole[0], whole[1].roll(1, dims=2)]


@wrong(
    "cached-first-slot-overwritten",
    named="cache written from its start",
    how="token by token",
    symptom="a decoded token takes the place of the first one",
)
class FirstSlotOverwritten(CachedInSlots):
    def write(self, slots: Tensor, heads: Tensor, start: int) -> None:
        super().write(slots, heads, 0)


@wrong(
    "cached-with-a-hole",
    named="hole in the cache",
    how="token by token",
    symptom="after the prompt one slot stays empty and each token is one behind",
    source="microsoft/onnxruntime-genai#2354",
)
class WithAHole(CachedInSlots):
    def write(self, slots: Tensor, heads: Tensor, start: int) -> None:
        place = start + bool(start)
        super().write(slots, heads[:, :, : slots.shape[2] - place], place)


@wrong(
    "cached-read-beyond-its-length",
    named="cache read beyond its length",
    how="token by token",
    symptom="a decoded token sees every slot: empty ones, and those of a longer sequence before",
)
class ReadBeyondItsLength(CachedInSlots):
    def length(self, start: int, tokens: int) -> int:
        decoded = start > 0 and tokens == 1
        return self.max_seq_len if decoded else super().length(start, tokens)

    def hidden(self, start: int, tokens: int, length: int) -> Tensor:
        hidden = super().hidden(start, tokens, length)
        return torch.zeros_like(hidden) if start > 0 and tokens == 1 else hidden


@wrong(
    "cached-stale-keys",
    named="keys of an earlier sequence",
    how="a second sequence",
    symptom="after a longer sequence a shorter one sees what the longer one left",
)
class StaleKeys(CachedInSlots):
    longest: int = 0

    def length(self, start: int, tokens: int) -> int:
        self.longest = max(self.longest, start + tokens)
        return self.longest

    def hidden(self, start: int, tokens: int, length: int) -> Tensor:
        hidden = super().hidden(start, tokens, length)
        return hidden if tokens > 1 else torch.zeros_like(hidden)


@wrong(
    "cached-slots-of-the-first-item",
    named="items share the cache",
    how="plain",
    symptom="what the first item writes, every item reads",
)
class SlotsOfTheFirstItem(CachedInSlots):
    def write(self, slots: Tensor, heads: Tensor, start: int) -> None:
        super().write(slots, heads[:1].expand_as(heads), start)
