"""Numbers that every format and every reader of JSON has exactly: small integers times a power of two.

They are drawn from SHA-256 of a name, so that they are the same on every machine and for ever.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from itertools import count, islice

import numpy as np
from numpy.typing import NDArray

from properties.basics.dtypes import Array

Integers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Exact:
    """integers * times; minus infinity where `hidden` is true."""

    integers: Integers
    times: float
    hidden: NDArray[np.bool_] | None = None

    @property
    def array(self) -> Array:
        """In float64."""
        numbers: Array = self.integers.astype(np.float64) * self.times
        return numbers if self.hidden is None else np.where(self.hidden, -np.inf, numbers)

    def part(self, start: int, stop: int) -> Exact:
        """Some of its tokens, the last axis but one."""
        return Exact(self.integers[..., start:stop, :], self.times)


def drawn(name: str, shape: tuple[int, ...], largest: int, times: float) -> Exact:
    """Integers from -largest to largest."""
    numbers = islice(integers(name, 2 * largest + 1), int(np.prod(shape)))
    return Exact(np.array(list(numbers), dtype=np.int64).reshape(shape) - largest, times)


def chosen(name: str, shape: tuple[int, ...], among: tuple[int, ...], times: float) -> Exact:
    """Some of the given integers."""
    numbers = islice(integers(name, len(among)), int(np.prod(shape)))
    return Exact(np.array([among[n] for n in numbers], dtype=np.int64).reshape(shape), times)


def seen(name: str, shape: tuple[int, ...], hidden: int = 3) -> NDArray[np.bool_]:
    """Booleans, of which about `hidden` of eight are false."""
    numbers = islice(integers(name, 8), int(np.prod(shape)))
    return (np.array(list(numbers)) >= hidden).reshape(shape)


def integers(name: str, below: int) -> Iterator[int]:
    """Integers from 0 on, below a small one."""
    for block in count():
        digest = sha256(f"{name}/{block}".encode()).digest()
        for start in range(0, len(digest), 4):
            yield int.from_bytes(digest[start : start + 4], "big") % below
