"""Faults of functions that answer with numbers what has no right answer.

Each is right wherever there is one.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from properties.zoo.faults import fault
from properties.zoo.wide import dot_product, flash
from properties.zoo.wide.dot_product import DotProduct
from properties.zoo.wide.encoder import PlainEncoder
from properties.zoo.wide.flash import Both, Flash

MASK = "error/mask-of-another-size"
PADDING = "error/padding-of-another-size"
INTEGERS = "error/mask-of-integers"
VALUES = "error/keys-without-their-values"
GROUPS = "error/indivisible-groups"


@fault(
    "mask-cut-to-the-scores",
    MASK,
    symptom="a mask for more queries is taken for the first ones, whichever they are meant to be",
)
@dot_product.as_function
class mask_cut_to_the_scores(DotProduct):
    """Right for a mask of a static cache, which is longer along the keys."""

    def masked(self, scores: Tensor, mask: Tensor) -> Tensor:
        queries, keys = scores.shape[-2:]
        return super().masked(scores, mask[..., :queries, :keys])


@fault(
    "mask-repeated-to-the-batch",
    MASK,
    symptom="the mask of another batch is wrapped round the items of this one",
)
@dot_product.as_function
class mask_repeated_to_the_batch(DotProduct):
    """As many times as it takes, and cut."""

    def masked(self, scores: Tensor, mask: Tensor) -> Tensor:
        if mask.ndim == 4:
            mask = mask[torch.arange(len(scores)) % len(mask)]
        return super().masked(scores, mask)


@fault(
    "padding-filled-up-with-real-keys",
    PADDING,
    symptom="a mask of keys that is too short leaves the last ones real",
    family="encoder",
)
class PaddingFilledUp(PlainEncoder):
    """And one that is too long is cut."""

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        if mask is not None:
            mask = functional.pad(mask, (0, x.shape[1] - mask.shape[-1]), value=True)
        return super().forward(x, mask)


@fault(
    "padding-of-the-first-items",
    PADDING,
    symptom="a mask of keys for a longer batch is cut to its first items",
    family="encoder",
)
class PaddingOfTheFirstItems(PlainEncoder):
    """A last batch that is smaller than the others meets the mask of the others."""

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        return super().forward(x, None if mask is None else mask[: len(x)])


@fault(
    "integers-inverted-bit-by-bit",
    INTEGERS,
    symptom="~1 is -2, which is not zero: a mask of ones and zeros hides everything",
)
@dot_product.as_function
class integers_inverted(DotProduct):
    """Numbers with a point are added, all else is inverted."""

    def masked(self, scores: Tensor, mask: Tensor) -> Tensor:
        if mask.is_floating_point():
            return scores + mask
        return scores.masked_fill((~mask).bool(), torch.finfo(scores.dtype).min)


@fault(
    "integers-of-eight-bits-overflow",
    INTEGERS,
    symptom="(1 - mask) * -10000 is 240 in eight bits: what is hidden gets nearly all of the weight",
    source="constructed: the mask that tokenizers give, in the smallest format that holds it",
)
@dot_product.as_function
class integers_overflow(DotProduct):
    """Right for a mask of 64 bits."""

    def masked(self, scores: Tensor, mask: Tensor) -> Tensor:
        if mask.is_floating_point() or mask.dtype == torch.bool:
            return super().masked(scores, mask)
        return scores + (1 - mask) * -10000


@fault(
    "query-passed-on-without-keys",
    "error/no-keys",
    symptom="an empty context gives the query back, as if it had been attended to",
)
@dot_product.as_function
class query_passed_on(DotProduct):
    """A shortcut around an empty context."""

    def attend(self, query: Tensor, key: Tensor, *others: Any, **named: Any) -> Tensor:
        if not key.shape[-2]:
            return query.clone()
        return super().attend(query, key, *others, **named)


@fault(
    "queries-for-missing-keys",
    "error/no-keys",
    symptom="an empty context is taken for none: the queries attend to each other",
)
@flash.as_function
class queries_for_missing_keys(Flash):
    """`context or x`, in other words."""

    def attend(self, q: Tensor, k: Tensor, v: Tensor, *others: Any, **named: Any) -> Both:
        k, v = (q, q) if not k.shape[1] else (k, v)
        return super().attend(q, k, v, *others, **named)


@fault(
    "values-cut-to-the-keys",
    VALUES,
    symptom="values of an older, longer cache are taken for those of these keys",
)
@dot_product.as_function
class values_cut(DotProduct):
    """As a kernel does that reads one length and trusts the other."""

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, *others: Any, **named: Any
    ) -> Tensor:
        return super().attend(query, key, value[..., : key.shape[-2], :], *others, **named)


@fault(
    "values-filled-up-with-zeros",
    VALUES,
    symptom="a key without a value takes its share of the weight and gives nothing",
)
@dot_product.as_function
class values_filled_up(DotProduct):
    """Memory that is as long as the keys, and zero behind the values; what is longer is cut."""

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, *others: Any, **named: Any
    ) -> Tensor:
        value = functional.pad(value, (0, 0, 0, key.shape[-2] - value.shape[-2]))
        return super().attend(query, key, value, *others, **named)


@fault(
    "groups-rounded-up-and-cut",
    GROUPS,
    symptom="the last group has fewer readers than the others, without a word",
)
@dot_product.as_function
class groups_rounded_up(DotProduct):
    """Repeated once more than fits, and cut; more groups than heads are refused."""

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, *others: Any, **named: Any
    ) -> Tensor:
        key, value = (self.fitting(part, query.shape[-3]) for part in (key, value))
        return super().attend(query, key, value, *others, **named)

    def fitting(self, part: Tensor, heads: int) -> Tensor:
        if part.shape[-3] > heads:
            raise ValueError(f"{part.shape[-3]} groups for {heads} heads")
        times = -(-heads // part.shape[-3])
        return part.repeat_interleave(times, dim=-3)[:, :heads]


@fault(
    "groups-in-proportion",
    GROUPS,
    symptom="head h reads h * G // H: right where G divides H, uneven elsewhere",
)
@flash.as_function
class groups_in_proportion(Flash):
    """An index for every head."""

    def attend(self, q: Tensor, k: Tensor, v: Tensor, *others: Any, **named: Any) -> Both:
        read = torch.arange(q.shape[2]) * k.shape[2] // q.shape[2]
        return super().attend(q, k[:, :, read], v[:, :, read], *others, **named)


Window = tuple[int, int]


@fault(
    "minus-two-is-a-width",
    "error/window-below-minus-one",
    symptom="only -1 is no limit: -2 hides a query's own key, and every one before it",
)
@flash.as_function
class minus_two_is_a_width(Flash):
    """`!= -1` for `>= 0`."""

    def hidden(self, scores: Tensor, causal: bool, window: Window) -> Tensor:
        behind = self.behind(scores)
        hidden = super().hidden(scores, causal, (-1, window[1]))
        return hidden | (behind > window[0]) if window[0] != -1 else hidden


@fault(
    "width-made-positive",
    "error/window-below-minus-one",
    symptom="a window of -2 is one of 2",
)
@flash.as_function
class width_made_positive(Flash):
    """The sign is dropped, but for -1."""

    def hidden(self, scores: Tensor, causal: bool, window: Window) -> Tensor:
        left, right = (abs(side) if side != -1 else side for side in window)
        return super().hidden(scores, causal, (left, right))


@fault(
    "cap-of-zero-is-the-formula",
    "error/cap-not-above-zero",
    symptom="a cap of zero, meant as none, makes all scores alike",
)
def cap_of_zero(
    query: Tensor, key: Tensor, value: Tensor, is_causal: bool = False, softcap: float | None = None
) -> Tensor:
    """None is none, zero is a number."""
    z = query @ key.mT / query.shape[-1] ** 0.5
    if softcap is not None:
        z = softcap * torch.tanh(z / softcap)
    future = torch.ones_like(z, dtype=torch.bool).triu(1)
    return z.masked_fill(future & is_causal, -torch.inf).softmax(-1) @ value


@fault(
    "least-cap",
    "error/cap-not-above-zero",
    symptom="a cap of zero or below is one of a millionth: all scores alike",
)
@flash.as_function
class least_cap(Flash):
    """Kept from zero, so that nothing is divided by it; 0 is the default and no cap."""

    def cap(self, scores: Tensor, softcap: float) -> Tensor:
        return super().cap(scores, max(softcap, 1e-6) if softcap else 0.0)


@fault(
    "weights-that-are-nan-are-zero",
    "error/scale-of-nan",
    symptom="meant for rows that see nothing: whatever else is NaN comes out as zeros, too",
)
@dot_product.as_function
class nan_is_zero(DotProduct):
    """nan_to_num on the weights."""

    def normalise(self, scores: Tensor) -> Tensor:
        return super().normalise(scores).nan_to_num(0.0)


@fault(
    "scale-of-nan-is-the-default",
    "error/scale-of-nan",
    symptom="a scale that came out as NaN is replaced without a word",
)
@dot_product.as_function
class nan_is_the_default(DotProduct):
    """`not scale >= 0`."""

    def factor(self, query: Tensor, scale: float | None) -> float:
        given = scale is not None and scale >= 0
        return super().factor(query, scale if given else None)
