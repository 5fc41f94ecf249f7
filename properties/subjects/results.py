"""The output among what a forward returns: one tensor, or one in a tuple, a list, a mapping or an object.

Legend: B batch, T tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from torch import Tensor


def parts(returned: Any) -> list[Any]:
    """What was returned, thing by thing: of a mapping its values, of a dataclass its fields."""
    if isinstance(returned, tuple | list):
        return list(returned)
    if isinstance(returned, Mapping):
        return list(returned.values())
    if is_dataclass(returned) and not isinstance(returned, type):
        return [getattr(returned, field.name) for field in fields(returned)]
    return [returned]


def output_in(returned: Any, x: Tensor) -> Any:
    """The first tensor with the leading axes of x ([B,] T, ...), else the first of all; what was returned
    where there is no tensor in it.
    """
    tensors = [part for part in parts(returned) if isinstance(part, Tensor)]
    rows = [tensor for tensor in tensors if tensor.shape[:-1] == x.shape[:-1]]
    return next(iter([*rows, *tensors]), returned)
