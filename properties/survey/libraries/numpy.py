"""NumPy: attention as it is written in a few lines of it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from properties.survey.lines import Line

LINES = (Line("numpy", "the formula in four lines", f"{__name__}:attention"),)


def attention(
    query: NDArray[Any], key: NDArray[Any], value: NDArray[Any], mask: NDArray[Any] | None = None
) -> NDArray[Any]:
    """Scores, softmax, mixture; where the mask is true a key is seen."""
    scores = query @ key.swapaxes(-1, -2) / np.sqrt(query.shape[-1], dtype=query.dtype)
    scores = scores if mask is None else np.where(mask, scores, -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    mixed: NDArray[Any] = weights / weights.sum(-1, keepdims=True) @ value
    return mixed
