"""Numbers, names and tensors as one would type them."""

from __future__ import annotations

import base64
import zlib
from decimal import ROUND_UP, Context

import numpy as np
import torch
from torch import Tensor

from properties.basics.dtypes import Array
from properties.findings.recording import Layout
from properties.subjects.instance import to_array

WIDTH = 96
LONGEST = 20_000  # numbers that are written one by one
FLOAT64 = "dtype=torch.float64"


def tensor(array: Array, indent: int = 0) -> str:
    """An expression for a float64 tensor with these numbers; `tensor` makes one of nested lists."""
    shape = array.shape
    if not array.size or (array.size > 1 and np.all(array == array.flat[0])):
        if array.size and array.flat[0] != 0.0:
            return f"torch.full({shape}, {number(array.flat[0])}, {FLOAT64})"
        return f"torch.zeros({', '.join(map(str, shape))}, {FLOAT64})"
    if array.size > 4 and (same := repeated(array)):
        return f"{tensor(array[:1])}.repeat({', '.join(map(str, same))})"
    if array.size > 4 and (square := identity(array)):
        return square
    return packed(array) if array.size > LONGEST else f"tensor({nested(array, indent)})"


def packed(array: Array) -> str:
    """An expression for many numbers: their bytes, compressed."""
    text = base64.b64encode(zlib.compress(np.ascontiguousarray(array).tobytes(), 9)).decode()
    unpacked = f"zlib.decompress(base64.b64decode({text!r}))"
    return f"torch.tensor(np.frombuffer({unpacked}).reshape{array.shape}, {FLOAT64})"


def slack(allowed: Array) -> str:
    """The same for allowed errors, rounded up to the two digits that are enough."""
    up = [rounded_up(float(value)) for value in allowed.flat]
    return tensor(np.array(up).reshape(allowed.shape))


def rounded_up(value: float) -> float:
    """The next larger number of two decimal digits; infinity for what is no bound."""
    if not np.isfinite(value):
        return float("inf")
    return float(Context(prec=2, rounding=ROUND_UP).create_decimal(value))


def repeated(array: Array) -> tuple[int, ...] | None:
    """The repetitions of the first item that make the array, if it has nothing else."""
    if (
        array.ndim < 2
        or len(array) < 2
        or not np.array_equal(array[:1].repeat(len(array), 0), array)
    ):
        return None
    return (len(array), *(1 for _ in array.shape[1:]))


def identity(array: Array) -> str | None:
    """An expression for an identity matrix, perhaps cut into several, or None if it is none."""
    rows = int(np.prod(array.shape[:-1]))
    if not np.array_equal(array.reshape(rows, -1), np.eye(rows, array.shape[-1])):
        return None
    eye = f"torch.eye({rows}, {array.shape[-1]}, {FLOAT64})"
    return eye if array.ndim == 2 else f"{eye}.reshape{array.shape}"


def nested(array: Array, indent: int = 0) -> str:
    """Nested lists, a row to a line where they are long."""
    line = flat(array)
    if array.ndim < 2 or len(line) + indent < WIDTH - 30:
        return line
    inner = " " * (indent + 4)
    rows = "".join(f"{inner}{nested(row, indent + 4)},\n" for row in array)
    return f"[\n{rows}{' ' * indent}]"


def flat(array: Array) -> str:
    """Nested lists on one line."""
    return f"[{', '.join(map(flat, array))}]" if array.ndim else number(array)


def number(value: object) -> str:
    """A float that reads back as itself; `inf` and `nan` are names."""
    return repr(float(np.asarray(value)))


def typed(array: Array, dtype: str) -> str:
    """An expression for a tensor of these numbers in a dtype."""
    return tensor(array) + ("" if dtype == "float64" else f".to(torch.{dtype})")


def given(argument: Tensor) -> str:
    """An expression for a tensor of its own numbers, or of booleans."""
    if argument.is_floating_point():
        return typed(to_array(argument), str(argument.dtype).removeprefix("torch."))
    if argument.dtype == torch.bool and argument.numel() > 1 and bool(argument.all()):
        return f"torch.ones({', '.join(map(str, argument.shape))}, dtype=torch.bool)"
    kind = f", dtype={argument.dtype}" * (argument.dtype not in (torch.bool, torch.int64))
    return f"torch.tensor({argument.tolist()}{kind})"


def laid_out(array: Array, layout: Layout, dtype: str) -> str:
    """The same, with the numbers as they lay in memory."""
    if 0 in layout.stride and array.size:
        first = array[tuple(slice(0, 1 if step == 0 else None) for step in layout.stride)]
        return f"{typed(first, dtype)}.expand{layout.size}"
    if in_order(layout) or not array.size:
        return typed(array, dtype)
    storage = f"torch.full(({layout.length},), nan, dtype=torch.{dtype})"
    view = f"{storage}.as_strided({layout.size}, {layout.stride}, {layout.offset})"
    return f"{view}.copy_({tensor(array)})"


def in_order(layout: Layout) -> bool:
    """Whether the numbers lie as in a new tensor; the stride of an axis of length one is nothing."""
    if layout.offset:
        return False
    usual = [int(np.prod(layout.size[axis + 1 :])) for axis in range(len(layout.size))]
    axes = zip(layout.size, layout.stride, usual, strict=True)
    return all(size == 1 or step == own for size, step, own in axes)
