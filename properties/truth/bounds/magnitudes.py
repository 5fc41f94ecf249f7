"""The magnitudes of a module's products, which are the same in every format."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from properties.basics.dtypes import Array
from properties.truth.oracle import Trace
from properties.truth.parameters import Weights


@dataclass(frozen=True, eq=False)
class Magnitudes:
    """|x| |matrix| of each projection of an input."""

    x: Array
    parameters: Weights | None
    trace: Trace

    @cached_property
    def inputs(self) -> dict[str, Array]:
        """Of queries, keys and values, by name, without their biases."""
        p, x, tokens = self.parameters, np.abs(self.x), np.abs(self.trace.tokens)
        if p is None:
            return {}
        pairs = {"query": (x, p.query), "key": (tokens, p.key), "value": (tokens, p.value)}
        return {name: source @ np.abs(matrix) for name, (source, matrix) in pairs.items()}

    @cached_property
    def largest(self) -> float:
        """The largest of all, each with its bias; NaN where there is one."""
        largest = 0.0
        for name, size in self.inputs.items():
            bias = getattr(self.parameters, f"{name}_bias")
            whole = size if bias is None else size + np.abs(bias)
            largest = np.maximum(largest, whole.max(initial=0.0))
        return float(largest)


def affine_magnitude(x: Array, matrix: Array, bias: Array | None) -> Array:
    """|x| |matrix| + |bias|."""
    product: Array = np.abs(x) @ np.abs(matrix)
    return product if bias is None else product + np.abs(bias)
