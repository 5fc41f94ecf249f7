"""Functions of lists: a matrix for each head, or for each sequence.

Legend: B items, H heads, T queries, S keys, D head_dim, E width of a head of values.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class InLists:
    """A function of three lists of matrices, (T, D), (S, D) and (S, E), called with tensors of heads: once
    for each item, with a matrix for each head.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        """Keep the function's documentation."""
        self.function = function
        self.__doc__ = function.__doc__
        self.__wrapped__ = function

    def __call__(self, query: Tensor, key: Tensor, value: Tensor, **options: Any) -> Any:
        """(B, H, T, E); what is no matrix for each head is returned as it is."""
        found = []
        for item in zip(query, key, value, strict=True):
            returned = self.function(*(list(part) for part in item), **options)
            heads = self.heads(returned, query.shape[1])
            if heads is None:
                return returned
            found.append(heads)
        return torch.stack(found) if found else torch.zeros_like(query)

    def heads(self, returned: Any, count: int) -> Tensor | None:
        """(H, T, E) of what a call returns: matrices, or rows of all heads (T, H * E); None for others."""
        if isinstance(returned, Tensor) and returned.ndim == 2:
            return returned.unflatten(-1, (count, -1)).transpose(0, 1)
        parts = list(returned) if isinstance(returned, list | tuple | Tensor) else []
        matrices = [part for part in parts if isinstance(part, Tensor) and part.ndim == 2]
        return torch.stack(matrices) if len(matrices) == len(parts) == count else None
