"""Faults of a cache of keys and values: most are modules of the wide zoo, each with the laws that tell it.

Legend: B batch, T tokens, S tokens so far, H heads, D head_dim.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from properties.zoo.faults import fault
from properties.zoo.wide import held_ones
from properties.zoo.wide.cached import CachedByTheCaller, CachedInside, CachedInSlots
from properties.zoo.wide.cached_manners import CachedAsInGpt2, CachedWithAPointer, Past
from properties.zoo.wide.cached_padded import CachedWithPadding

BY_TOKEN = "cache/token-by-token-equals-the-whole"
BY_CHUNK = "cache/any-split-equals-the-whole"
SECOND = "cache/second-sequence-is-a-first-one"
ITEMS = "cache/items-keep-their-own"
WITHOUT = "cache/call-without-it-is-what-it-was"
FORKED = "cache/past-of-the-caller-stays"
PADDED = "cache/padding-stays-hidden"
MASKED = "cache/mask-of-pairs-goes-on"
LAYERS = "cache/layers-keep-their-own"

BREAKS = {
    "cached-mask-from-the-top-left": (BY_TOKEN, BY_CHUNK),
    "cached-no-mask-beside-a-cache": (BY_CHUNK,),
    "cached-reset-forgets-nothing": (SECOND, "cache/second-batch-may-be-of-another-size"),
    "cached-present-before-the-past": (BY_CHUNK,),
    "cached-first-chunk-alone": (BY_TOKEN, BY_CHUNK),
    "cached-own-key-forgotten": (BY_TOKEN, BY_CHUNK),
    "cached-unasked": (WITHOUT,),
    "cached-past-of-the-first-item": (BY_TOKEN, ITEMS),
    "cached-first-slot-overwritten": (BY_TOKEN, BY_CHUNK),
    "cached-with-a-hole": (BY_TOKEN, BY_CHUNK),
    "cached-read-beyond-its-length": (BY_TOKEN, SECOND),
    "cached-stale-keys": (SECOND,),
    "cached-slots-of-the-first-item": (BY_TOKEN, ITEMS),
    "cached-positions-not-advanced": (BY_TOKEN, BY_CHUNK),
    "cached-positions-advance-twice": (BY_TOKEN, BY_CHUNK),
    "cached-keys-rotated-again": (BY_TOKEN, BY_CHUNK),
    "cached-values-lag-behind": (BY_TOKEN, BY_CHUNK),
    "cached-past-written-to": (FORKED,),
    "cached-mask-dropped": (MASKED,),
    "cached-mask-of-the-last-columns": (MASKED,),
    "cached-mask-at-the-wrong-end": (MASKED,),
    "cached-mask-turned": (MASKED,),
    "cached-added-mask-dropped": (MASKED,),
    "cached-layers-in-one-place": (LAYERS,),
    "cached-keys-of-the-first-layer": (LAYERS,),
}
"""By the name of the wrong module."""

for _name, _laws in BREAKS.items():
    _held = held_ones()[_name]
    fault(_name, *_laws, symptom=_held.symptom, source=_held.source)(_held.target)


@fault(
    "cached-room-of-the-first-batch",
    "cache/second-batch-may-be-of-another-size",
    symptom="after a single prompt a batch of them raises, or reads what others have written",
    source="rasbt/LLMs-from-scratch#925",
)
class RoomOfTheFirstBatch(CachedWithAPointer):
    """Room is laid out once, for as many items as come first; reset sets the pointer back."""

    def remember(self, keys: Tensor, values: Tensor) -> Past:
        if self.cache_k is not None and len(self.cache_k) < len(keys):
            keys, values = keys[: len(self.cache_k)], values[: len(self.cache_k)]
        return super().remember(keys, values)

    def reset_cache(self) -> None:
        self.pointer = 0


@fault(
    "cached-positions-one-behind",
    BY_TOKEN,
    BY_CHUNK,
    symptom="the first new token stands where the last one of the past does",
    source="VeloxQuant-MLX#196",
)
class PositionsOneBehind(CachedByTheCaller):
    """The position of the last token is taken for the length."""

    def start(self, length: int) -> int:
        return max(0, length - 1)


@fault(
    "cached-switched-on-for-good",
    WITHOUT,
    symptom="once asked for, the cache is used in every later call",
)
class SwitchedOnForGood(CachedInside):
    """The argument is kept."""

    switched_on = False

    def forward(self, x: Tensor, use_cache: bool = False) -> Tensor:
        self.switched_on = use_cache or self.switched_on
        return super().forward(x, self.switched_on)


@fault(
    "cached-past-lengthened-in-place",
    FORKED,
    symptom="beams that share a prompt see each other's tokens",
)
class PastLengthenedInPlace(CachedAsInGpt2):
    """The tensors of the past are made longer themselves."""

    def joined(self, past: Past, keys: Tensor, values: Tensor) -> Past:
        whole = super().joined(past, keys, values)
        for old, new in zip(past, whole, strict=True):
            old.data = new
        return past


@fault(
    "cached-past-marked-with-its-last",
    FORKED,
    symptom="a second continuation of a prompt starts from a past that the first one has changed",
)
class PastMarkedWithItsLast(CachedAsInGpt2):
    """The last place of the past is used again for the newest key."""

    def joined(self, past: Past, keys: Tensor, values: Tensor) -> Past:
        whole = super().joined(past, keys, values)
        past[0][:, :, -1] = keys[:, :, -1]
        return whole


@fault(
    "cached-without-an-end",
    "cache/too-long-is-refused",
    symptom="decoding goes on past the length that the model was made for",
)
class WithoutAnEnd(CachedInside):
    """The length of the call is looked at, not that of what is kept."""

    def remember(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        length, self.context_length = self.context_length, 10**9
        whole = super().remember(keys, values)
        self.context_length = max(length, whole[0].shape[2])
        return whole


@fault(
    "cached-in-a-ring",
    "cache/too-long-is-refused",
    symptom="what is decoded past the end takes the places of the prompt",
)
class InARing(CachedInSlots):
    """Places are counted modulo their number."""

    def forward(self, x: Tensor, start_pos: int = 0) -> Tensor:
        return super().forward(x, start_pos % self.max_seq_len)


@fault(
    "cached-before-it-looks",
    "cache/refusing-loses-nothing",
    symptom="after a request that was too long the sequence goes on from tokens that were refused",
)
class BeforeItLooks(CachedInside):
    """Keys are kept, then counted."""

    def remember(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        if self.cache_k is not None and self.cache_v is not None:
            keys, values = self.join(self.cache_k, keys), self.join(self.cache_v, values)
        self.cache_k, self.cache_v = keys, values
        return keys, values


@fault(
    "cached-dropped-when-refused",
    "cache/refusing-loses-nothing",
    symptom="after a request that was too long the sequence begins anew, without a word",
)
class DroppedWhenRefused(CachedInside):
    """Cleared for the error."""

    def remember(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        try:
            return super().remember(keys, values)
        except ValueError:
            self.reset_cache()
            raise


@fault(
    "cached-under-no-grad-alone",
    "cache/recording-gradients-changes-nothing",
    symptom="without no_grad() every decoded token stands alone",
)
class UnderNoGradAlone(CachedInside):
    """What is recorded is taken for training."""

    def remember(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        return (keys, values) if torch.is_grad_enabled() else super().remember(keys, values)


@fault(
    "cached-anew-when-recorded",
    "cache/recording-gradients-changes-nothing",
    symptom="without no_grad() a decoded token sees the one before it alone",
)
class AnewWhenRecorded(CachedInside):
    """A past with a graph is thrown away."""

    def join(self, past: Tensor, present: Tensor) -> Tensor:
        return super().join(past[:, :, past.shape[2] :] if past.requires_grad else past, present)


@fault(
    "cached-keys-detached-ever-after",
    "cache/gradients-without-it-are-what-they-were",
    symptom="after a sample was drawn, keys and values learn nothing more",
)
class KeysDetachedEverAfter(CachedInside):
    """Whether it decodes is noted, and never taken back."""

    decoding = False

    def forward(self, x: Tensor, use_cache: bool = False) -> Tensor:
        self.decoding = use_cache or self.decoding
        layers = (self.W_key, self.W_value) if self.decoding else ()
        hooks = [layer.register_forward_hook(cut) for layer in layers]
        output = super().forward(x, use_cache)
        for hook in hooks:
            hook.remove()
        return output


def cut(layer: object, inputs: object, output: Tensor) -> Tensor:
    """What a layer gives, without its gradient."""
    return output.detach()


@fault(
    "cached-and-training-switched-off",
    "cache/gradients-without-it-are-what-they-were",
    symptom="after a sample was drawn, backward() raises",
)
class TrainingSwitchedOff(CachedInside):
    """no_grad() for good."""

    decoding = False

    def forward(self, x: Tensor, use_cache: bool = False) -> Tensor:
        self.decoding = use_cache or self.decoding
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.decoding):
            return super().forward(x, use_cache)


@fault(
    "cached-padding-lost-beside-a-past",
    PADDED,
    symptom="padded prompts go on worse than alone: from the second step on their padding is seen",
    source="fairseq 68dd3e1",
)
class PaddingLostBesideAPast(CachedWithPadding):
    """The mask counts where there is no past."""

    def real(self, mask: Tensor, tokens: int) -> Tensor:
        return mask if mask.shape[1] == tokens else torch.ones_like(mask)


@fault(
    "cached-padding-of-the-new-tokens-alone",
    PADDED,
    symptom="padded prompts go on worse than alone: the mask of the past is filled with ones",
    source="constructed",
)
class PaddingOfTheNewTokensAlone(CachedWithPadding):
    """What is told of the past is left out."""

    def real(self, mask: Tensor, tokens: int) -> Tensor:
        past = mask.shape[1] - tokens
        return functional.pad(mask[:, past:], (past, 0), value=True)
