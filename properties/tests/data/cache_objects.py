"""Caches that a caller makes and hands to each step, right and wrong, and a module that updates them.

Legend: B batch, T tokens of a step, S tokens so far, H heads, D head_dim.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

Kept = tuple[Tensor, Tensor]


class Growing:
    """Keys and values of every layer, in lists that grow."""

    def __init__(self) -> None:
        self.kept: list[list[Tensor]] = []

    def update(self, keys: Tensor, values: Tensor, layer_idx: int = 0) -> Kept:
        """(B, H, T, D) twice -> (B, H, S, D) twice."""
        if len(self.kept) <= layer_idx:
            self.kept.append([keys, values])
        else:
            pairs = zip(self.kept[layer_idx], (keys, values), strict=True)
            self.kept[layer_idx] = [torch.cat(pair, dim=2) for pair in pairs]
        return self.kept[layer_idx][0], self.kept[layer_idx][1]


class RoomCache:
    """Room for so many tokens, in torch's usual format."""

    first = 0

    def __init__(self, batch_size: int, max_seq_len: int, num_kv_heads: int, head_dim: int) -> None:
        self.k = torch.zeros(batch_size, num_kv_heads, max_seq_len, head_dim)
        self.v = torch.zeros_like(self.k)
        self.room, self.at = max_seq_len, self.first

    def update(self, k: Tensor, v: Tensor) -> Kept:
        """The same."""
        end = self.at + k.shape[2]
        self.k[:, :, self.at : end], self.v[:, :, self.at : end] = k, v
        self.at = end
        return self.k[:, :, :end], self.v[:, :, :end]


class RoomOfAllLayers(nn.Module):
    """The same for several layers, as buffers; the last layer moves on."""

    kept: Tensor

    def __init__(
        self,
        n_layers: int,
        max_batch_size: int,
        capacity: int,
        n_heads: int,
        dim: int,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        shape = (n_layers, 2, max_batch_size, n_heads, capacity, dim // n_heads)
        self.register_buffer("kept", torch.zeros(shape, dtype=dtype), persistent=False)
        self.at = 0

    def insert(self, layer: int, new: Tensor) -> Tensor:
        """(2, B, H, T, D) -> (2, B, H, S, D)."""
        end = self.at + new.shape[3]
        self.kept[layer, :, :, :, self.at : end] = new
        if layer == len(self.kept) - 1:
            self.at = end
        return self.kept[layer, :, :, :, :end]


class CountedFromOne(RoomCache):
    first = 1


class NewAlone(RoomCache):
    def update(self, k: Tensor, v: Tensor) -> Kept:
        super().update(k, v)
        return k, v


class OfTheFirstItem(RoomCache):
    def update(self, k: Tensor, v: Tensor) -> Kept:
        return super().update(k[:1], v[:1])


class ShortRing(RoomCache):
    """The fourth token is written over the first."""

    def update(self, k: Tensor, v: Tensor) -> Kept:
        room = min(3, self.room)
        for token in range(k.shape[2]):
            self.k[:, :, self.at % room] = k[:, :, token]
            self.v[:, :, self.at % room] = v[:, :, token]
            self.at += 1
        return self.k[:, :, : min(self.at, room)], self.v[:, :, : min(self.at, room)]


class Cached(nn.Module):
    """Causal attention that updates what it is handed."""

    def __init__(self, d_model: int, num_heads: int, num_kv_heads: int, layer_idx: int = 0) -> None:
        super().__init__()
        self.num_heads, self.layer_idx = num_heads, layer_idx
        self.head_dim = d_model // num_heads
        self.q_proj = nn.Linear(d_model, d_model, bias=False)
        self.k_proj = nn.Linear(d_model, num_kv_heads * self.head_dim, bias=False)
        self.v_proj = nn.Linear(d_model, num_kv_heads * self.head_dim, bias=False)
        self.o_proj = nn.Linear(d_model, d_model, bias=False)

    def forward(self, x: Tensor, kv_cache: RoomCache | None = None) -> Tensor:
        """(B, T, d_model) -> the same."""
        return self.attend(x, kv_cache)

    def attend(self, x: Tensor, kept: Any) -> Tensor:
        """The same; None keeps nothing."""
        q, k, v = (
            layer(x).unflatten(-1, (-1, self.head_dim)).transpose(1, 2)
            for layer in (self.q_proj, self.k_proj, self.v_proj)
        )
        if kept is not None:
            k, v = self.joined(kept, k, v)
        k, v = (part.repeat_interleave(self.num_heads // part.shape[1], dim=1) for part in (k, v))
        tokens, places = q.shape[2], k.shape[2]
        hidden = torch.ones(tokens, places, dtype=torch.bool).triu(places - tokens + 1)
        scores = (q @ k.mT * self.head_dim**-0.5).masked_fill(hidden, -torch.inf)
        output: Tensor = self.o_proj((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))
        return output

    def joined(self, kept: Any, k: Tensor, v: Tensor) -> Kept:
        """All keys and values."""
        found: Kept = kept.update(k, v)
        return found


class Unannotated(Cached):
    """Of all classes beside it, the one with which it goes on as it should is meant."""

    def forward(self, x: Tensor, past_key_values=None) -> Tensor:  # type: ignore[no-untyped-def]
        """The same."""
        return self.attend(x, past_key_values)

    def joined(self, kept: Any, k: Tensor, v: Tensor) -> Kept:
        """With the number of the layer."""
        found: Kept = kept.update(k, v, self.layer_idx)
        return found


class IgnoresItsLayer(Unannotated):
    """Every layer is the first one."""

    def joined(self, kept: Any, k: Tensor, v: Tensor) -> Kept:
        found: Kept = kept.update(k, v, 0)
        return found


class ReadsTheFirst(Unannotated):
    """Written where it belongs, read where it does not."""

    def joined(self, kept: Any, k: Tensor, v: Tensor) -> Kept:
        kept.update(k, v, self.layer_idx)
        return kept.kept[0][0], kept.kept[0][1]


class OfOneLayer:
    """Each layer has one of its own; an index is taken, as elsewhere, and says nothing."""

    def __init__(self) -> None:
        self.kept: Kept | None = None

    def update(self, k: Tensor, v: Tensor, layer_idx: int = 0) -> Kept:
        past = self.kept
        if past is not None:
            k, v = (torch.cat(pair, dim=2) for pair in zip(past, (k, v), strict=True))
        self.kept = k, v
        return self.kept


class WithACacheOfItsOwn(Unannotated):
    def forward(self, x: Tensor, past_key_values: OfOneLayer | None = None) -> Tensor:  # type: ignore[override]
        return self.attend(x, past_key_values)


class ToldInTheCall(Cached):
    """The index comes with each call."""

    def forward(self, x: Tensor, cache: Any = None, layer_idx: int = 0) -> Tensor:  # type: ignore[override]
        self.layer_idx = layer_idx
        return self.attend(x, cache)

    def joined(self, kept: Any, k: Tensor, v: Tensor) -> Kept:
        past = kept.get(self.layer_idx)
        if past is not None:
            k, v = (torch.cat(pair, dim=2) for pair in zip(past, (k, v), strict=True))
        kept[self.layer_idx] = k, v
        return k, v


class InARoomOfAllLayers(Cached):
    """Keys and values are copied for the heads that read them before they are kept."""

    def forward(self, x: Tensor, cache: RoomOfAllLayers | None = None) -> Tensor:  # type: ignore[override]
        """The same."""
        return self.attend(x, cache)

    def joined(self, kept: Any, k: Tensor, v: Tensor) -> Kept:
        """In one tensor."""
        copies = self.num_heads // k.shape[1]
        k, v = (part.repeat_interleave(copies, dim=1) for part in (k, v))
        keys, values = kept.insert(self.layer_idx, torch.stack([k, v]))
        return keys, values


class FromOne(Cached):
    def forward(self, x: Tensor, kv_cache: CountedFromOne | None = None) -> Tensor:
        return self.attend(x, kv_cache)


class OfNewAlone(Cached):
    def forward(self, x: Tensor, kv_cache: NewAlone | None = None) -> Tensor:
        return self.attend(x, kv_cache)


class SharedByItems(Cached):
    def forward(self, x: Tensor, kv_cache: OfTheFirstItem | None = None) -> Tensor:
        return self.attend(x, kv_cache)


class InAShortRing(Cached):
    def forward(self, x: Tensor, kv_cache: ShortRing | None = None) -> Tensor:
        return self.attend(x, kv_cache)


class Unmakeable:
    """Nobody knows how many pages there are."""

    def __init__(self, pages: int) -> None:
        self.pages = pages

    def update(self, k: Tensor, v: Tensor) -> Kept:
        return k, v


class InPages(Cached):
    def forward(self, x: Tensor, kv_cache: Unmakeable | None = None) -> Tensor:  # type: ignore[override]
        return self.attend(x, kv_cache)
