"""MLX's arrays, on the CPU."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from properties.recognition.foreign.arrays import Arrays, Function, of_floating, to_numpy, to_torch

DOUBLE = 1e-14  # how far exp may be off in float64


class MLXArrays(Arrays):
    """What a call gives is computed when its numbers are read."""

    name = "MLX"
    roots = frozenset({"mlx", "mx"})  # mx: as it is usually imported, and so annotated

    def array(self, tensor: Tensor) -> Any:
        """A copy. Without its format named a float64 of NumPy's would become a float32."""
        import mlx.core as mx

        name = str(tensor.dtype).removeprefix("torch.")
        wide = tensor.to(torch.float32) if tensor.dtype == torch.bfloat16 else tensor
        return mx.array(to_numpy(wide), dtype=mx.bool_ if name == "bool" else getattr(mx, name))

    def tensor(self, array: Any) -> Tensor:
        """A copy; NumPy, through which it goes, has no bfloat16."""
        import mlx.core as mx

        if array.dtype == mx.bfloat16:
            return to_torch(np.array(array.astype(mx.float32))).to(torch.bfloat16)
        return to_torch(np.array(array))

    def within(self) -> AbstractContextManager[Any]:
        """On the CPU, which alone has float64."""
        import mlx.core as mx

        context: AbstractContextManager[Any] = mx.stream(mx.cpu)
        return context

    def pulled(self, function: Function, inputs: int) -> Function:
        """By mlx.core.vjp."""
        return Derivatives(function, inputs)

    def inexact(self) -> Mapping[str, str]:
        """float64, where exp has half of its digits."""
        import mlx.core as mx

        with self.within():
            found = np.array(mx.exp(mx.array(-1.0, dtype=mx.float64)))
        if abs(found - math.exp(-1)) < DOUBLE:
            return {}
        return {"float64": "MLX's own exp has no more digits there than in float32"}


class Derivatives:
    """(*inputs, *upstream) -> the derivatives by the inputs of floating-point numbers."""

    def __init__(self, function: Function, inputs: int) -> None:
        self.function, self.inputs = function, inputs

    def __call__(self, *arrays: Any) -> Sequence[Any]:
        """By mlx.core.vjp; outputs that are no floating-point numbers count for nothing."""
        import mlx.core as mx

        inputs, upstream = arrays[: self.inputs], list(arrays[self.inputs :])

        def is_floating(part: Any) -> bool:
            return bool(mx.issubdtype(part.dtype, mx.floating))

        floating, alone = of_floating(self.function, inputs, is_floating)
        _, found = mx.vjp(lambda *parts: list(alone(*parts)), floating, upstream)
        derivatives: Sequence[Any] = found
        return derivatives


ARRAYS = MLXArrays()
