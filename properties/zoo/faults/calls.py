"""Faults of what a call is told: masks, windows, scales, caps, groups, and what is returned besides.

Most are functions of the wide zoo, each with the laws that tell it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from properties.zoo.faults import fault
from properties.zoo.wide import held_ones
from properties.zoo.wide.encoder import PlainEncoder

BREAKS = {
    "sdpa-true-hides": (
        "mask/all-shown-is-no-mask",
        "mask/boolean-equals-bias",
        "groups/hide-as-ever",
    ),
    "sdpa-true-hides-beside-the-causal-flag": (
        "mask/all-shown-is-no-mask",
        "mask/joins-the-causal-flag",
    ),
    "sdpa-mask-added-as-a-number": (
        "mask/boolean-equals-bias",
        "mask/hidden-equals-removed",
    ),
    "sdpa-mask-ignored": (
        "mask/hidden-equals-removed",
        "mask/hidden-key-does-not-matter",
    ),
    "sdpa-float-mask-ignored": (
        "mask/boolean-equals-bias",
        "mask/bias-is-added-to-the-scores",
    ),
    "sdpa-bias-read-as-boolean": (
        "mask/boolean-equals-bias",
        "mask/bias-is-added-to-the-scores",
    ),
    "sdpa-bias-rounded": (
        "mask/bias-is-added-to-the-scores",
        "score/scale-leaves-the-bias",
    ),
    "sdpa-bias-switches-causal-off": (
        "mask/all-shown-is-no-mask",
        "mask/joins-the-causal-flag",
    ),
    "sdpa-causal-switches-the-mask-off": ("mask/joins-the-causal-flag",),
    "sdpa-mask-of-items-falls-on-heads": ("mask/every-shape-that-is-taken",),
    "sdpa-mask-of-the-first-item": (
        "mask/every-shape-that-is-taken",
        "mask/shows-what-it-shows",
    ),
    "sdpa-mask-of-the-first-query": (
        "mask/empty-row-harms-no-other",
        "mask/empty-row-is-answered-as-ever",
    ),
    "sdpa-mask-skipped-by-its-first-item": ("mask/every-shape-that-is-taken",),
    "sdpa-mask-written-to": ("memory/arguments-are-not-written-to",),
    "sdpa-small-fill": ("mask/lowest-scores-leave-keys-hidden",),
    "sdpa-fill-overflows-in-half": ("mask/empty-row-in-float16",),
    "sdpa-least-number-added-twice": ("mask/empty-row-in-float16",),
    "sdpa-scale-multiplies-the-mask": (
        "mask/bias-is-added-to-the-scores",
        "score/scale-leaves-the-bias",
    ),
    "sdpa-scale-ignored": (
        "score/zero-is-a-scale",
        "score/given-scale-is-used-once",
    ),
    "sdpa-scale-squared": (
        "score/default-scale",
        "score/given-scale-is-used-once",
    ),
    "sdpa-scale-beside-the-default": (
        "score/default-scale",
        "score/given-scale-is-used-once",
    ),
    "sdpa-scale-of-zero-taken-for-none": ("score/zero-is-a-scale",),
    "sdpa-groups-tiled": (
        "cross/order-of-keys-does-not-matter",
        "groups/equal-repeated-heads",
        "groups/each-head-reads-its-own-group",
    ),
    "sdpa-groups-repeated-along-time": (
        "cross/order-of-keys-does-not-matter",
        "groups/equal-repeated-heads",
    ),
    "sdpa-first-group-for-all": (
        "groups/equal-repeated-heads",
        "cross/as-many-keys-as-there-are",
    ),
    "sdpa-causal-corner-by-size": ("cross/causal-diagonal-is-kept",),
    "sdpa-corner-by-kernel": (
        "mask/all-shown-is-no-mask",
        "mask/joins-the-causal-flag",
    ),
    "sdpa-as-many-keys-as-queries": (
        "cross/each-query-alone",
        "cross/order-of-keys-does-not-matter",
    ),
    "sdpa-query-written-to": ("memory/arguments-are-not-written-to",),
    "flash-cap-after-the-mask": (
        "score/cap-comes-before-hiding",
        "result/lse-is-the-logarithm-of-the-denominator",
    ),
    "flash-cap-dropped": (
        "score/cap-is-the-formula",
        "score/cap-comes-before-hiding",
    ),
    "flash-cap-without-its-division": (
        "score/wide-cap-is-none",
        "score/cap-is-the-formula",
    ),
    "flash-cap-before-the-scale": (
        "score/cap-is-the-formula",
        "score/cap-comes-before-hiding",
    ),
    "flash-scale-ignored": (
        "score/zero-is-a-scale",
        "score/given-scale-is-used-once",
    ),
    "flash-slopes-with-another-sign": ("score/slopes-grow-with-distance",),
    "flash-slope-of-the-first-head": ("score/slopes-grow-with-distance",),
    "flash-scale-multiplies-the-slopes": ("score/slopes-grow-with-distance",),
    "flash-distance-from-the-top-left": ("score/slopes-grow-with-distance",),
    "flash-groups-tiled": (
        "score/wide-cap-is-none",
        "window/wide-is-none",
    ),
    "flash-lse-before-the-mask": ("result/lse-is-the-logarithm-of-the-denominator",),
    "flash-lse-without-its-maximum": ("result/lse-is-the-logarithm-of-the-denominator",),
    "flash-padding-keys-take-part": (
        "score/wide-cap-is-none",
        "window/wide-is-none",
    ),
    "flash-window-keeps-one-more": (
        "window/exactly-these-keys",
        "window/joins-the-causal-flag",
    ),
    "flash-window-counts-oneself-where-causal": (
        "window/both-sides",
        "score/cap-comes-before-hiding",
    ),
    "flash-window-without-its-right-side": (
        "window/both-sides",
        "score/cap-comes-before-hiding",
    ),
    "flash-window-ignored-without-causal": (
        "window/both-sides",
        "score/cap-comes-before-hiding",
    ),
    "flash-window-of-nobody-taken-for-none": (
        "window/exactly-these-keys",
        "window/both-sides",
    ),
    "flash-window-with-its-sides-exchanged": (
        "window/both-sides",
        "score/cap-comes-before-hiding",
    ),
    "flash-window-from-the-top-left": (
        "window/exactly-these-keys",
        "window/joins-the-causal-flag",
    ),
    "flash-window-lifts-the-causal-mask": ("window/joins-the-causal-flag",),
    "flash-window-lost-when-asked-for-the-lse": ("result/lse-is-the-logarithm-of-the-denominator",),
    "flash-causal-shows-the-next": (
        "window/wide-is-none",
        "window/exactly-these-keys",
    ),
}
"""By the name of the wrong function."""

for _name, _laws in BREAKS.items():
    _held = held_ones()[_name]
    fault(_name, *_laws, symptom=_held.symptom, source=_held.source)(_held.target)


OF_MODULES = {
    "encoder-padding-acts-on-queries": ("mask/padding-shows-what-is-real",),
    "encoder-mask-multiplied-into-scores": (
        "mask/shows-what-it-shows",
        "mask/padding-shows-what-is-real",
        "mask/low-scores-leave-keys-hidden",
        "mask/low-scores-leave-padding-hidden",
    ),
    "encoder-mask-of-the-first-item": ("mask/padding-shows-what-is-real",),
    "encoder-small-fill": (
        "mask/lowest-scores-leave-keys-hidden",
        "mask/lowest-scores-leave-padding-hidden",
    ),
    "encoder-flag-ignored": ("mask/causal-flag-hides-the-future",),
    "encoder-flag-one-late": ("mask/causal-flag-hides-the-future",),
    "encoder-flag-mask-kept-by-length": ("memory/earlier-call-is-forgotten",),
    "encoder-true-hides-in-pairs": ("mask/shows-what-it-shows", "mask/joins-padding"),
    "masked-mask-replaces-causal": (
        "mask/shows-what-it-shows",
        "mask/padding-shows-what-is-real",
        "mask/all-shown-is-no-mask",
    ),
    "masked-padding-lost-in-eval": ("mask/padding-shows-what-is-real",),
    "masked-mask-of-an-earlier-call": ("memory/earlier-call-is-forgotten",),
    "masked-buffer-written-to": ("memory/earlier-call-is-forgotten",),
}
"""By the name of the wrong module."""

for _name, _laws in OF_MODULES.items():
    _held = held_ones()[_name]
    _family = "encoder" if _held.kind == "encoder" else "multihead"
    fault(_name, *_laws, symptom=_held.symptom, source=_held.source, family=_family)(_held.target)


@fault(
    "padding-counted-from-the-left",
    "mask/padding-side-does-not-matter",
    symptom="right for padding on the right; on the left real tokens are hidden and padding is seen",
    family="encoder",
)
class PaddingCountedFromTheLeft(PlainEncoder):
    """As many keys as there are real ones, from the first one on."""

    def widen(self, mask: Tensor) -> Tensor:
        if mask.dim() != 2:
            return super().widen(mask)
        lengths = mask.sum(dim=1, keepdim=True)
        return super().widen(torch.arange(mask.shape[1]) < lengths)


@fault(
    "a-mask-takes-the-place-of-padding",
    "mask/joins-padding",
    symptom="padding takes part as soon as a mask is handed in as well",
    family="encoder",
)
class AMaskTakesThePlaceOfPadding(PlainEncoder):
    """Both are taken, and one is used."""

    def forward(
        self, x: Tensor, attn_mask: Tensor | None = None, padding_mask: Tensor | None = None
    ) -> Tensor:
        return super().forward(x, padding_mask if attn_mask is None else attn_mask)


def mixed(z: Tensor, hidden: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """Context and weights; a query that sees nothing gives zeros."""
    weights = z.masked_fill(hidden, -torch.inf).softmax(-1).nan_to_num()
    return weights @ value, weights


@fault(
    "one-key-is-its-value",
    "memory/output-is-no-view-of-an-input",
    symptom="the values change when the output of a single token is written to",
    family="self",
)
def one_key_is_its_value(query: Tensor, key: Tensor, value: Tensor, scale: float = 1.0) -> Tensor:
    """Nothing to mix."""
    if key.shape[-2] == query.shape[-2] == 1:
        return value
    return (query @ key.mT * scale).softmax(-1) @ value


@fault(
    "a-mask-replaces-the-window",
    "window/joins-a-mask",
    symptom="a sliding window is lost as soon as a batch is padded",
    family="self",
)
def a_mask_replaces_the_window(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, window: int | None = None
) -> Tensor:
    """True attends; the window is of the past, the query's own key besides."""
    z = query @ key.mT / query.shape[-1] ** 0.5
    behind = torch.arange(z.shape[-2])[:, None] - torch.arange(z.shape[-1])
    hidden = torch.zeros_like(z, dtype=torch.bool)
    if mask is not None:
        hidden = ~mask
    elif window is not None:
        hidden = (behind > window) | (behind < 0)
    return mixed(z, hidden, value)[0]


@fault(
    "weights-of-what-is-not-hidden",
    "result/returned-weights-are-those-used",
    symptom="a heat map shows attention to padding that is not there",
    family="self",
)
def weights_of_what_is_not_hidden(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None = None,
    return_weights: bool = False,
) -> Any:
    """True attends."""
    z = query @ key.mT / query.shape[-1] ** 0.5
    context, _ = mixed(z, torch.zeros_like(z, dtype=torch.bool) if mask is None else ~mask, value)
    return (context, z.softmax(-1)) if return_weights else context


@fault(
    "asked-for-weights-forgets-the-mask",
    "result/asking-changes-nothing",
    symptom="the result changes when the weights are looked at",
    family="self",
)
def asked_for_weights_forgets_the_mask(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None = None,
    return_weights: bool = False,
) -> Any:
    """True attends."""
    z = query @ key.mT / query.shape[-1] ** 0.5
    if return_weights:
        return z.softmax(-1) @ value, z.softmax(-1)
    hidden = torch.zeros_like(z, dtype=torch.bool) if mask is None else ~mask
    return mixed(z, hidden, value)[0]
