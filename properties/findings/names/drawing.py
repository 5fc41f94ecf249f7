"""What dropout draws with, as it should be."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from properties.basics.dtypes import Array

Shape = tuple[int, ...]


class Chance:
    """What an instance draws with: its probability, its mode, and what it keeps between calls."""

    def __init__(self, p: float) -> None:
        self.p = p
        self.modes: list[bool] = []  # of the calls so far: whether it was in training
        self.kept: dict[Any, Any] = {}

    @property
    def training(self) -> bool:
        """Whether the present call is in training."""
        return bool(self.modes and self.modes[-1])

    def draw(self, shape: Shape, p: float | None = None, generator: Any = None) -> Array:
        """1 / (1 - p) where a weight survives, else 0, by torch's generator unless another is given."""
        p = self.p if p is None else p
        kept = torch.rand(shape, dtype=torch.float64, generator=generator).numpy() >= p
        return kept / (1.0 - p) if p < 1.0 else np.zeros(shape)

    def factors(self, shape: Shape) -> Array:
        """The same in training; ones in eval, or where p is 0."""
        return self.draw(shape) if self.training and self.p else np.ones(shape)
