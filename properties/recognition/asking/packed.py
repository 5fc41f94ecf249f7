"""Functions of documents packed one after the other, called as functions of a batch.

Legend: B items, one document each; T queries, S keys, H heads, G heads of keys and values, D head_dim;
N queries and M keys of all documents.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from properties.recognition.asking.in_a_tuple import InATuple
from properties.recognition.asking.roles import packed_role

LAYOUT = "N H D"


class Names(NamedTuple):
    """The arguments for where documents start, and for how long the longest one is; "" for none."""

    starts: str
    starts_of_keys: str = ""
    longest: str = ""
    longest_of_keys: str = ""


class Packed:
    """f((B, T, H, D), (B, S, G, D) twice) of a function of (N, H, D), (M, G, D) twice and the starts of
    documents, (B + 1,) of int32. What goes by the name of the starts here is (B, 2), how many queries
    and keys of each item are there: the first ones. Without it all are.
    """

    def __init__(self, function: Callable[..., Any], names: tuple[str, ...]) -> None:
        """names: see `Names`."""
        self.function, self.names = function, names
        self.__doc__ = function.__doc__

    def __call__(self, query: Tensor, key: Tensor, value: Tensor, **options: Any) -> Any:
        """The output (B, T, H, D), zero where no query is; what else is returned stays as it is."""
        lengths = options.pop(self.names[0], None)
        if lengths is None:
            whole = [[part.shape[1]] * part.shape[0] for part in (query, key)]
            parts = [part.flatten(0, 1) for part in (query, key, value)]
        else:
            whole = lengths.T.tolist()
            sides = zip((query, key, value), (0, 1, 1), strict=True)
            parts = [part[self.real(part, lengths[:, side])] for part, side in sides]
        starts = [torch.tensor([0, *some]).cumsum(0).to(torch.int32) for some in whole]
        longest = (max(some, default=0) for some in whole)
        told = dict(zip(self.names, (*starts, *longest), strict=True))
        named = {name: number for name, number in told.items() if name}
        returned = self.function(*parts, **named, **options)
        several = isinstance(returned, tuple | list) and len(returned) > 0
        first = returned[0] if several else returned
        if not isinstance(first, Tensor) or first.shape[:1] != parts[0].shape[:1]:
            return returned
        first = self.unpacked(first, query, lengths)
        return (first, *returned[1:]) if several else first

    def real(self, part: Tensor, lengths: Tensor) -> Tensor:
        """(B, T), true where a token is there."""
        return torch.arange(part.shape[1]) < lengths[:, None]

    def unpacked(self, output: Tensor, query: Tensor, lengths: Tensor | None) -> Tensor:
        """(N, H, D) -> (B, T, H, D)."""
        if lengths is None:
            return output.unflatten(0, query.shape[:2])
        spread = output.new_zeros(*query.shape[:2], *output.shape[1:])
        spread[self.real(query, lengths[:, 0])] = output
        return spread


def names_of(arguments: Iterable[str]) -> Names | None:
    """The arguments of a function by which documents are told; None where there are none."""
    found: dict[str, str] = {}
    for name in arguments:
        if (role := packed_role(name)) is not None:
            found.setdefault(role, name)
    return Names(**found) if "starts" in found else None


def starts_are_shared(function: Callable[..., Any]) -> bool:
    """Whether the starts of queries are those of keys as well: documents have as many of both, then."""
    inner = function.function if isinstance(function, InATuple) else function
    return isinstance(inner, Packed) and not Names(*inner.names).starts_of_keys
