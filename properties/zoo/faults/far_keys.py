"""Faults of rows of thousands of keys: a key, a tile or what remains of one does not count."""

from __future__ import annotations

import torch
from torch import Tensor

from properties.zoo.faults import fault
from properties.zoo.faults.long_calls import attention

LONG = 4096  # keys, from which another kernel is taken
TILE = 64
EDGES = "cross/edges-of-8192-keys"


@fault(
    "last-of-8192-keys-forgotten",
    EDGES,
    symptom="from 4096 keys on the newest token is not seen",
    family="self",
)
def last_key_forgotten(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """The loop of the long kernel ends one key too soon."""
    if key.shape[-2] > LONG:
        key, value = key[..., :-1, :], value[..., :-1, :]
    return attention(query, key, value)


@fault(
    "rest-of-8192-keys-forgotten",
    EDGES,
    symptom="from 4096 keys on those behind the last full tile of 64 are not seen",
    family="self",
)
def rest_forgotten(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """The number of tiles is rounded down."""
    if key.shape[-2] > LONG:
        end = key.shape[-2] // TILE * TILE
        key, value = key[..., :end, :], value[..., :end, :]
    return attention(query, key, value)


@fault(
    "tile-of-8192-keys-forgotten",
    EDGES,
    symptom="from 4096 keys on 64 of them are not seen",
    family="self",
)
def tile_forgotten(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Where two halves of the row meet, a tile belongs to neither."""
    if key.shape[-2] > LONG:
        key, value = (
            torch.cat([part[..., : LONG - TILE, :], part[..., LONG:, :]], -2)
            for part in (key, value)
        )
    return attention(query, key, value)


@fault(
    "8192-keys-filled-up-with-zeros",
    EDGES,
    symptom="from 4096 keys on zeros that fill up the last tile are keys as well",
    family="self",
)
def filled_up(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Zeros fill up the last tile of 64 and are not hidden."""
    missing = -key.shape[-2] % TILE if key.shape[-2] > LONG else 0
    if missing:
        key, value = (torch.nn.functional.pad(part, (0, 0, 0, missing)) for part in (key, value))
    return attention(query, key, value)


@fault(
    "one-of-8192-keys-forgotten",
    "cross/each-of-8192-keys",
    symptom="from 4096 keys on a single one is not seen",
    family="self",
)
def one_key_forgotten(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """It stands within a tile, where a lane is left out."""
    if key.shape[-2] > LONG:
        kept = torch.arange(key.shape[-2]) != LONG + 904
        key, value = key[..., kept, :], value[..., kept, :]
    return attention(query, key, value)


@fault(
    "two-of-8192-values-exchanged",
    "cross/each-of-8192-keys",
    symptom="from 4096 keys on two neighbours have each other's values",
    family="self",
)
def two_values_exchanged(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Within a tile two lanes are exchanged on the way to the second product."""
    if key.shape[-2] > LONG:
        order = torch.arange(key.shape[-2])
        order[[5000, 5001]] = order[[5001, 5000]]
        value = value[..., order, :]
    return attention(query, key, value)
