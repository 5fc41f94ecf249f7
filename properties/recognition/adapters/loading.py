"""Our weights written into the matrices of a built module.

Ours are (d_in, W), applied as x @ W, head h in the columns h*D to (h+1)*D. Theirs may be turned,
cut into heads, or one for queries, keys and values together.

Legend: H heads, D head_dim, W = H * D.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from properties.basics.dtypes import Array
from properties.basics.errors import SubjectError
from properties.recognition.adapters.projections import Cell, Structure, shape_of
from properties.recognition.adapters.spellings import LETTER
from properties.truth.parameters import Sizes, Weights

Rows = NDArray[np.int64]

# Which rows of a matrix for n roles belong to each: (n, width) row numbers.
LAYOUTS: Mapping[str, Callable[[int, int, int], Rows]] = {
    "one role after the other": lambda n, heads, dim: np.arange(n * heads * dim).reshape(n, -1),
    "head by head": lambda n, heads, dim: (
        np.arange(n * heads * dim).reshape(heads, n, dim).transpose(1, 0, 2).reshape(n, -1)
    ),
    "column by column": lambda n, heads, dim: np.arange(n * heads * dim).reshape(-1, n).T,
    "head after head in each column": lambda n, heads, dim: (
        np.arange(n * heads * dim).reshape(dim, n, heads).transpose(1, 2, 0).reshape(n, -1)
    ),
}


@dataclass(frozen=True)
class Scheme:
    """What names do not tell. rows: by role, whether a raw matrix is (out, in), not (in, out);
    layout and order: how the rows of one matrix for several roles are dealt out.
    """

    rows: Mapping[str, bool] = field(default_factory=dict)
    layout: str = "one role after the other"
    order: str = ""


def expected_shape(cell: Cell, role: str, count: int, sizes: Sizes) -> tuple[int, int]:
    """(out, in) of one of `count` cells that carry `role` together."""
    parts = [of for of, letter in LETTER.items() if letter in cell.order] or [role]
    return sum(sizes.width_of(part) for part in parts) // count, sizes.d_in_of(role)


def orientation(cell: Cell, expected: tuple[int, int]) -> bool | None:
    """True for (out, in), False for (in, out), None where both fit; SubjectError for neither."""
    shape = tuple(cell.weight.shape)
    fits = (shape == expected, shape == expected[::-1])
    if not any(fits) or (cell.rows and not fits[0]):
        kept = expected if cell.rows else expected[::-1]
        raise SubjectError(f"{cell.path} has the shape {shape_of(cell.weight)}, expected {kept}")
    if cell.rows:
        return True
    return None if all(fits) else fits[0]


def shapes(structure: Structure, role: str, sizes: Sizes) -> bool | None:
    """The orientation of the matrices for `role`, as their shapes tell it; see `orientation`."""
    cells = structure.cells[role]
    if sizes.width_of(role) % len(cells):
        raise SubjectError(f"{len(cells)} matrices for {role}, expected {sizes.heads}")
    seen = [orientation(c, expected_shape(c, role, len(cells), sizes)) for c in cells]
    return seen[0]


def load(structure: Structure, weights: Weights, sizes: Sizes, scheme: Scheme) -> None:
    """Write all weights; SubjectError where a matrix has not the shape that the sizes ask for, or
    where it is computed from others and does not hold then what was written.

    A bias that the weights lack becomes zero, an output projection that they lack the identity.
    """
    with torch.no_grad():
        for role in LETTER:
            bias: Array | None = getattr(weights, f"{role}_bias")
            write(structure, role, getattr(weights, role), bias, sizes, scheme)
        if structure.out is not None:
            out = np.eye(sizes.width) if weights.out is None else weights.out
            write(structure, "out", out, weights.out_bias, sizes, scheme)
        # A computed weight has been written into a copy, by as many roles as share it.
        computed = {id(c.weight): c for c in structure.all_cells() if c.derived is not None}
        for cell in computed.values():
            if cell.derived is not None:
                cell.derived.write(cell.path, cell.weight.detach().clone())
    for parameter in structure.frozen():  # the gradients that our weights have are asked for
        parameter.requires_grad_()


def write(
    structure: Structure,
    role: str,
    matrix: Array,
    bias: Array | None,
    sizes: Sizes,
    scheme: Scheme,
) -> None:
    """Write one of our matrices (in, W or G * D) and its bias into the cells that carry it."""
    cells = structure.cells[role]
    turned = is_turned(structure, role, sizes, scheme)
    bias = np.zeros(sizes.width_of(role)) if bias is None else bias
    blocks = zip(parts(matrix.T, len(cells)), parts(bias, len(cells)), strict=True)
    for cell, (block, vector) in zip(cells, blocks, strict=True):
        target = cell.weight if turned else cell.weight.T  # (out, in)
        index = own_rows(cell, role, structure, sizes, scheme)
        put(target, index, block)
        if cell.bias is not None:
            put(cell.bias, slice(None) if cell.bias_alone else index, vector)


def put(target: Tensor, index: Tensor | slice, array: Array) -> None:
    """Write an array into these rows of a tensor, in its format."""
    rows = torch.from_numpy(array.copy())
    target[index] = rows if isinstance(index, slice) else rows.to(target.dtype)


def parts(array: Array, count: int) -> list[Array]:
    """The array cut along its first axis into as many parts of one length."""
    return [array] if count == 1 else np.split(array, count)


def collect(
    structure: Structure, replaced: Callable[[Tensor], Tensor], sizes: Sizes, scheme: Scheme
) -> Weights:
    """The inverse of `load`: our layout of other numbers that lie as the module's own do.

    replaced: what stands in place of a tensor of the module, in the same shape.
    """
    found: dict[str, Array] = {}
    for role, cells in structure.cells.items():
        turned = is_turned(structure, role, sizes, scheme)
        matrices, biases = [], []
        for cell in cells:
            index = own_rows(cell, role, structure, sizes, scheme)
            matrix = replaced(cell.weight)
            matrices.append((matrix if turned else matrix.T)[index])
            if cell.bias is not None:
                biases.append(replaced(cell.bias)[slice(None) if cell.bias_alone else index])
        found[role] = torch.cat(matrices).T.double().numpy()
        if biases:
            found[f"{role}_bias"] = torch.cat(biases).double().numpy()
    return Weights(**found)


def is_turned(structure: Structure, role: str, sizes: Sizes, scheme: Scheme) -> bool:
    """Whether the matrices for `role` are (out, in)."""
    rows = shapes(structure, role, sizes)
    return scheme.rows.get(role, False) if rows is None else rows


def unequal(order: str, letter: str, sizes: Sizes, layout: str) -> Rows:
    """The rows of one of the parts of a matrix in which queries have more heads than keys and values:
    one part after the other, or group by group, in each its queries before its key and its value.
    """
    if layout == "column by column":
        raise SubjectError("queries, keys and values take turns, and there are fewer keys")
    blocks = [sizes.shared if part == "q" else 1 for part in order]
    start = sum(blocks[: order.index(letter)])
    stop = start + blocks[order.index(letter)]
    if layout == "head by head":
        rows = np.arange(sum(blocks) * sizes.key_width)
        by_group = rows.reshape(sizes.key_heads, sum(blocks), sizes.head_dim)
        return by_group[:, start:stop].ravel()
    return np.arange(start * sizes.key_width, stop * sizes.key_width)


def own_rows(
    cell: Cell, role: str, structure: Structure, sizes: Sizes, scheme: Scheme
) -> torch.Tensor | slice:
    """The rows of a cell that belong to `role`: all of them unless it is shared, else their numbers."""
    count = len(structure.cells[role])
    width = sizes.width_of(role) // count
    if not cell.order:
        return slice(width)
    order = scheme.order or cell.order
    if "q" in order and sizes.shared > 1:
        return torch.from_numpy(unequal(order, LETTER[role], sizes, scheme.layout))
    heads = 1 if count > 1 else sizes.key_heads if "q" not in order else sizes.heads
    dealt = LAYOUTS[scheme.layout](len(order), heads, width // heads)
    return torch.from_numpy(dealt[order.index(LETTER[role])].copy())
