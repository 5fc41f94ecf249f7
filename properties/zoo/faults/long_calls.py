"""Faults of what hides, or is shared, in long rows: within one tile they are right."""

from __future__ import annotations

import torch
from torch import Tensor

from properties.zoo.faults import fault

TILE = 64


def attention(query: Tensor, key: Tensor, value: Tensor, seen: Tensor | None = None) -> Tensor:
    """Right attention; a query that sees nothing gives zeros."""
    z = query @ key.mT / query.shape[-1] ** 0.5
    if seen is None:
        return z.softmax(-1) @ value
    least = torch.finfo(z.dtype).min
    return z.masked_fill(~seen, least).softmax(-1).masked_fill(~seen, 0.0) @ value


def in_window(query: Tensor, key: Tensor, window: int) -> Tensor:
    """(T, S): the query's own key and as many before it."""
    behind = torch.arange(query.shape[-2])[:, None] - torch.arange(key.shape[-2])
    return (behind >= 0) & (behind <= window)


@fault(
    "mask-of-the-first-tile",
    "mask/rows-of-257-keys",
    symptom="a mask hides among the first 64 keys alone",
    family="self",
)
def mask_of_the_first_tile(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None
) -> Tensor:
    """True attends."""
    if mask is not None and mask.shape[-1] > TILE:
        mask = mask.clone()
        mask[..., TILE:] = True
    return attention(query, key, value, mask)


@fault(
    "first-row-of-a-tile-decides",
    "mask/rows-of-257-keys",
    symptom="in long rows queries are told by the mask of another query",
    family="self",
)
def first_row_of_a_tile_decides(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None
) -> Tensor:
    """True attends. From the second tile of 64 queries on, the first of them decides for all."""
    if mask is not None and mask.shape[-2] > TILE:
        mask = mask.clone()
        for start in range(TILE, mask.shape[-2], TILE):
            mask[..., start : start + TILE, :] = mask[..., start : start + 1, :].clone()
    return attention(query, key, value, mask)


@fault(
    "window-ends-with-its-tile",
    "window/rows-of-257-keys",
    symptom="a window of more than 64 keys sees 64",
    family="self",
)
def window_ends_with_its_tile(
    query: Tensor, key: Tensor, value: Tensor, window: int | None = None
) -> Tensor:
    """The window is of the past, the query's own key besides."""
    if window is None:
        return attention(query, key, value)
    return attention(query, key, value, in_window(query, key, min(window, TILE)))


@fault(
    "window-begins-with-its-tile",
    "window/rows-of-257-keys",
    symptom="a sliding window is longer than it says, by up to 63 keys",
    family="self",
)
def window_begins_with_its_tile(
    query: Tensor, key: Tensor, value: Tensor, window: int | None = None
) -> Tensor:
    """The window is of the past. Whole tiles are skipped, and the first that is not is taken whole."""
    if window is None:
        return attention(query, key, value)
    first = (torch.arange(query.shape[-2])[:, None] - window) // TILE * TILE
    place = torch.arange(key.shape[-2])
    within = in_window(query, key, window)
    before = (place >= first) & (place <= torch.arange(query.shape[-2])[:, None]) & (first > 0)
    return attention(query, key, value, within | before)


@fault(
    "group-is-folded-with-one-length",
    "groups/rows-of-257-keys",
    symptom="in long rows with shared heads the last keys are those of the next group",
    family="self",
)
def folded_with_one_length(
    query: Tensor, key: Tensor, value: Tensor, enable_gqa: bool = False
) -> Tensor:
    """Beyond a tile the keys of the last group are read for all heads."""
    times = query.shape[1] // key.shape[1]
    if times > 1 and key.shape[-2] > TILE:
        key = torch.cat([key[..., :TILE, :], key[:, -1:, TILE:].expand_as(key[..., TILE:, :])], -2)
    key, value = (part.repeat_interleave(times, 1) for part in (key, value))
    return attention(query, key, value)


@fault(
    "groups-are-taken-in-turn-by-the-long-kernel",
    "groups/rows-of-257-keys",
    symptom="beyond 64 keys heads read other groups than before",
    family="self",
)
def taken_in_turn_by_the_long_kernel(
    query: Tensor, key: Tensor, value: Tensor, enable_gqa: bool = False
) -> Tensor:
    """The kernel for long rows has h % G, the other one h // (H / G)."""
    times = query.shape[1] // key.shape[1]
    if key.shape[-2] > TILE:
        key, value = (part.repeat(1, times, 1, 1) for part in (key, value))
    else:
        key, value = (part.repeat_interleave(times, 1) for part in (key, value))
    return attention(query, key, value)
