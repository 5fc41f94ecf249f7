"""Masks for modules of libraries that hide the future only as long as they are given none."""

from __future__ import annotations

import torch
from torch import Tensor


def of_the_past(mask: Tensor | None, tokens: int) -> Tensor | None:
    """The same with the future hidden as well, (..., T, T); None stays None.

    mask: broadcastable to (..., T, T), true where a key is seen, or numbers to add.
    """
    if mask is None:
        return None
    past = torch.ones(tokens, tokens, dtype=torch.bool).tril()
    return mask & past if mask.dtype == torch.bool else mask.masked_fill(~past, -torch.inf)
