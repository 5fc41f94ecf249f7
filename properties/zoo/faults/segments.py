"""Faults of functions of tokens that each have the number of a segment."""

from __future__ import annotations

import torch
from torch import Tensor

from properties.zoo.faults import fault

ALONE = "packed/a-segment-sees-itself-alone"
JOIN = "packed/segments-join-the-causal-flag"


def mixed(query: Tensor, key: Tensor, value: Tensor, seen: Tensor) -> Tensor:
    """Attention to what is seen, (B, H, T, S)."""
    scores = query @ key.mT / query.shape[-1] ** 0.5
    return scores.masked_fill(~seen, -torch.inf).softmax(-1) @ value


def past(query: Tensor, key: Tensor, is_causal: bool) -> Tensor:
    """(T, S), true where a key is not in the future."""
    seen = torch.ones(query.shape[-2], key.shape[-2], dtype=torch.bool)
    return seen.tril() if is_causal else seen


@fault(
    "earlier-segments-are-seen",
    ALONE,
    symptom="a document sees the ones that were packed before it",
)
def earlier_segments_are_seen(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    segment_ids: Tensor | None = None,
    is_causal: bool = False,
) -> Tensor:
    """`>=` for `==`: beside the causal flag that is as if there were no segments."""
    seen = past(query, key, is_causal)
    if segment_ids is not None:
        seen = seen & (segment_ids[:, None, :, None] >= segment_ids[:, None, None, :])
    return mixed(query, key, value, seen)


@fault(
    "segments-of-the-first-item",
    ALONE,
    symptom="all items are cut where the first one is",
)
def segments_of_the_first_item(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    segment_ids: Tensor | None = None,
    is_causal: bool = False,
) -> Tensor:
    """A mask that is made once for a batch."""
    seen = past(query, key, is_causal)
    if segment_ids is not None:
        seen = seen & (segment_ids[0, :, None] == segment_ids[0])
    return mixed(query, key, value, seen)


@fault(
    "segments-replace-causal",
    JOIN,
    symptom="as soon as segments are told, a document sees its own future",
)
def segments_replace_causal(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    segment_ids: Tensor | None = None,
    is_causal: bool = False,
) -> Tensor:
    """One mask or the other."""
    seen = past(query, key, is_causal)
    if segment_ids is not None:
        seen = segment_ids[:, None, :, None] == segment_ids[:, None, None, :]
    return mixed(query, key, value, seen)


@fault(
    "causal-replaces-segments",
    JOIN,
    symptom="the kernel's own flag is used, and segments are never read",
)
def causal_replaces_segments(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    segment_ids: Tensor | None = None,
    is_causal: bool = False,
) -> Tensor:
    """A path of its own for the flag."""
    seen = past(query, key, is_causal)
    if segment_ids is not None and not is_causal:
        seen = segment_ids[:, None, :, None] == segment_ids[:, None, None, :]
    return mixed(query, key, value, seen)
