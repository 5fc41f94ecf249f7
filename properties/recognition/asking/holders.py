"""An object of a class of the caller's that keeps keys and values, and how it is made.

Such as `k, v = cache.update(k, v)`, where the caller makes the cache, with room for a number of tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from properties.truth.parameters import Sizes


@dataclass(frozen=True)
class Holder:
    """A class of such objects, and what each argument of its constructor is told.

    arguments: argument -> meaning; certain: whether one of this class is meant, by the annotation, by the
    same name, or since there is no other; copied: whether the heads that it is told are those of
    queries, as where keys and values are copied for them before they are kept; of_each: how each of the two
    caches is made of which it consists, that of x and that of a context.
    """

    kind: type
    arguments: Mapping[str, str]
    certain: bool
    copied: bool = False
    of_each: Holder | None = None

    def __str__(self) -> str:
        """KVCache(), or KVCache(batch_size, max_len)."""
        if self.of_each is not None:
            return f"{self.kind.__name__}({self.of_each}, {self.of_each})"
        return f"{self.kind.__name__}({', '.join(self.arguments)})"

    def make(self, sizes: Sizes, batch: int, dtype: torch.dtype, layers: int = 1) -> Any:
        """A new one for so many sequences and layers; what the constructor raises goes through.

        Tensors that are made without a format have the one of the module, as a caller would set it.
        """
        if self.of_each is not None:
            return self.kind(*(self.of_each.make(sizes, batch, dtype, layers) for _ in "xc"))
        heads = sizes.heads if self.copied else sizes.key_heads
        room = sizes.context_length
        told = {
            "batch": batch,
            "room": room,
            "heads": heads,
            "query heads": sizes.heads,
            "head_dim": sizes.head_dim,
            "width": heads * sizes.head_dim,
            "layers": layers,
            "dtype": dtype,
            "device": "cpu",
        }
        usual = torch.get_default_dtype()
        torch.set_default_dtype(dtype)
        try:
            return self.kind(**{name: told[meant] for name, meant in self.arguments.items()})
        finally:
            torch.set_default_dtype(usual)
