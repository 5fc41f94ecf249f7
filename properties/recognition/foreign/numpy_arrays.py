"""NumPy's arrays. They have no derivatives."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from torch import Tensor

from properties.recognition.foreign.arrays import Arrays, to_numpy


class NumPyArrays(Arrays):
    """An array and its tensor lie in the same memory: what a function writes into its inputs shows."""

    name = "NumPy"
    widens, derives = True, False
    roots = frozenset({"numpy", "scipy"})

    def array(self, tensor: Tensor) -> np.ndarray[Any, Any]:
        """The tensor's own memory; TypeError for bfloat16."""
        return to_numpy(tensor)

    def within(self) -> AbstractContextManager[Any]:
        """A row that sees nothing divides zero by zero: that is its answer, and no warning."""
        return np.errstate(divide="ignore", invalid="ignore", over="ignore", under="ignore")


ARRAYS = NumPyArrays()
