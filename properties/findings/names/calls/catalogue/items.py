"""Masks and biases of modules that are read of another item of the batch than that of the query.

Legend: B batch, H heads, T queries, S keys.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from properties.cases.question import Question
from properties.findings.names.calls.catalogue import asks
from properties.findings.names.calls.catalogue.masks import SHAPE, numbers, real_keys
from properties.findings.names.calls.catalogue.of_modules import BOTH, of_tokens, told
from properties.findings.names.calls.catalogue.windows import seeing
from properties.findings.names.calls.form import RefusedError

Items = NDArray[np.signedinteger]
Picks = Callable[[int, int], Items]
"""The item whose mask each head of each item reads, (B, H) or (B, 1), by B and H."""


def of_items(mask: NDArray[Any], items: Items) -> NDArray[Any]:
    """A mask (B, 1, T, S) of which each head of each item gets that of another item."""
    if mask.ndim < 4:  # which is not handed to modules
        raise RefusedError(f"a mask {mask.shape}")
    return mask[:, 0][items] if len(mask) > 1 else mask


def picked(asked: Question, picks: Picks) -> Items:
    """For the items and heads of a question."""
    batch, heads = of_tokens(asked).shape[:2]
    return picks(batch, heads)


def pairs_of(called: str, picks: Picks) -> None:
    """Enter masks of pairs and biases of other items."""

    @asks(called, SHAPE, "mask", "bias")
    def of_pairs(asked: Question) -> Question:
        items = picked(asked, picks)
        return asked.changed(**{n: of_items(a, items) for n, a in numbers(asked).items()})


def all_of(called: str, picks: Picks, *, pairs: bool = True) -> None:
    """Enter all that is told of other items; pairs: for modules that take a mask of pairs alone."""

    @asks(called, SHAPE, *BOTH, "bias")
    def of_all(asked: Question) -> Question:
        if pairs and not {"mask", "context_mask"} & set(asked.case.subject.takes):
            raise RefusedError("padding alone is taken")
        items = picked(asked, picks)
        bias = {n: of_items(a, items) for n, a in numbers(asked, "bias").items()}
        return asked.changed(mask=of_items(told(asked), items), padding=None, **bias)


def padding_of(called: str, picks: Picks) -> None:
    """Enter padding of other items."""

    @asks(called, SHAPE, "padding", "padding_numbers")
    def of_padding(asked: Question) -> Question:
        padding = real_keys(asked)[picked(asked, picks)][:, :, None, :]
        return seeing(asked.changed(padding=None), padding)


def first(batch: int, heads: int) -> Items:
    """That of the first item for all."""
    return np.zeros((batch, 1), np.int64)


def before(batch: int, heads: int) -> Items:
    """Rolled by one along the batch."""
    return (np.arange(batch)[:, None] - 1) % batch


def behind(batch: int, heads: int) -> Items:
    """Rolled the other way."""
    return (np.arange(batch)[:, None] + 1) % batch


def tiled(batch: int, heads: int) -> Items:
    """(B, ...) is repeated H times as a whole, and read as heads that lie side by side in each item."""
    return np.arange(batch * heads).reshape(batch, heads) % batch


def laid_out_by_heads(batch: int, heads: int) -> Items:
    """(B * H, ...) is read as (H * B, ...)."""
    return (np.arange(heads) * batch + np.arange(batch)[:, None]) // heads


pairs_of("mask of items falls on heads", laid_out_by_heads)
all_of("mask of the first item for all", first, pairs=False)
for _picks in (before, behind, tiled):
    pairs_of("mask of another item", _picks)
    all_of("mask of another item", _picks)
    padding_of("padding of another item", _picks)
