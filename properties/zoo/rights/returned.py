"""Functions whose output is one thing among others that have names."""

from __future__ import annotations

from torch import Tensor

from properties.zoo.rights import right
from properties.zoo.rights.common import require


@right("context-and-weights-in-a-dict", "self")
def in_a_dict(
    query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None = None
) -> dict[str, Tensor]:
    """The mask is added to the scores: zeros, and large negative numbers."""
    require(key.shape[-2] == value.shape[-2], f"{key.shape[-2]} keys, {value.shape[-2]} values")
    scores = query @ key.mT / query.shape[-1] ** 0.5
    scores = scores if attention_mask is None else scores + attention_mask
    weights = scores.softmax(dim=-1)
    return {"context": weights @ value, "weights": weights}
