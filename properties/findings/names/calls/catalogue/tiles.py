"""Keys that are worked off in tiles, which are not put together as they should be.

Legend: B batch, H query heads, T queries, S keys.
"""

from __future__ import annotations

import numpy as np

from properties.cases.question import Question
from properties.findings.names.calls.catalogue import asks
from properties.findings.names.calls.catalogue.masks import logits, with_logits

TILES = (8, 16, 32, 64, 128, 256)
LOOK = "how tiles are put together: the rescaling by the running maximum"


def by_tiles_of(number: int) -> None:
    """Enter tiles of so many keys, each with a maximum of its own."""

    @asks("tiles not rescaled", LOOK)
    def not_rescaled(asked: Question) -> Question:
        """What is subtracted from a score differs from tile to tile, and is not given back."""
        if asked.shape[3] <= number:
            return asked
        scores = logits(asked)
        shown = np.where(asked.request.seen(asked.shape), scores, -np.inf)
        starts = np.arange(0, asked.shape[3], number)
        tops = np.maximum.reduceat(shown, starts, axis=-1)
        top = np.repeat(tops, number, axis=-1)[..., : asked.shape[3]]
        return with_logits(asked, np.where(np.isfinite(top), scores - top, scores))


for _number in TILES:
    by_tiles_of(_number)
