"""Trials that tell how a module's matrices lie, where neither name nor shape does.

They look at columns and zeros, not at values, so that they also work on attention that is wrong.

Legend: H heads, D head_dim, W = H * D.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import permutations

import numpy as np
import torch
from torch import nn

from properties.basics.dtypes import Array
from properties.recognition.adapters import trials
from properties.recognition.adapters.loading import LAYOUTS, Scheme, load, shapes
from properties.recognition.adapters.projections import Structure
from properties.recognition.adapters.spellings import LETTER
from properties.truth.parameters import Sizes, Weights

Build = Callable[[Sizes], tuple[nn.Module, Structure]]


def discover(build: Build, sizes: Sizes, batched: bool) -> tuple[Scheme, tuple[str, ...]]:
    """The scheme by which weights are loaded, and a remark for each thing that no trial could tell.

    build: a new module of the given sizes and its matrices.
    """
    trial = Try(build, sizes, batched)
    _, structure = build(sizes)
    rows, unknown = {}, []
    for role in structure.cells:
        told = shapes(structure, role, sizes)
        rows[role] = bool(told)
        if told is None:
            unknown.append(role)
    scheme = Scheme(rows)
    remarks: list[str] = []
    if any(cell.order for cell in structure.all_cells()):
        scheme, remark = shared_rows(trial, structure, scheme)
        remarks.append(remark)
    if unknown:
        scheme, remark = square_rows(trial, scheme, unknown)
        remarks.append(remark)
    return scheme, tuple(remark for remark in remarks if remark)


class Try:
    """Runs of new modules that carry weights made for the purpose."""

    def __init__(self, build: Build, sizes: Sizes, batched: bool) -> None:
        """Try modules of these sizes, on a batch of one or on one sequence."""
        self.build, self.sizes, self.batched = build, sizes, batched

    def output(
        self, weights: Weights, scheme: Scheme, sizes: Sizes, x: Array | None = None
    ) -> Array | None:
        """The output (T, W) for one sequence x (T, d_in), random if not given; None if it fails."""
        module, structure = self.build(sizes)
        load(structure, weights, sizes, scheme)
        tokens = trials.random_input(sizes.tokens, sizes.d_in)
        if x is not None:
            tokens = torch.tensor(x, dtype=tokens.dtype)
        result = trials.run(module, tokens[None] if self.batched else tokens).output
        if result is None or result.numel() != sizes.tokens * sizes.width:
            return None
        array: Array = result.double().numpy().reshape(sizes.tokens, sizes.width)
        return array


def square_rows(trial: Try, scheme: Scheme, unknown: list[str]) -> tuple[Scheme, str]:
    """The scheme with the orientation of square matrices, from where a single entry shows.

    With W_v = E_01 the values have column 1 alone, turned they have column 0 alone, and so has
    whatever mixture of the rows attention makes of them.
    """
    sizes = replace(trial.sizes, heads=1, head_dim=trial.sizes.width, groups=0)
    one = entry(sizes.width)
    tested = [role for role in ("value", "out") if role in unknown]
    lost = []
    for role in tested:
        output = trial.output(identity(sizes, **{role: one}), scheme, sizes)
        told = None if output is None else column_turned(output)
        if told is None:
            lost.append(role)
        rows = {**scheme.rows, role: bool(told)}
        if role == "value":  # one hand wrote all three
            rows |= {name: bool(told) for name in unknown if name != "out"}
        scheme = replace(scheme, rows=rows)
    return scheme, f"{' and '.join(lost)}: taken as x @ W, no trial could tell" if lost else ""


def entry(width: int) -> Array:
    """Zero but for a 1 in row 0, column 1 (of a 1 x 1 matrix: in its corner)."""
    matrix = np.zeros((width, width))
    matrix[0, min(1, width - 1)] = 1.0
    return matrix


def identity(sizes: Sizes, **matrices: Array) -> Weights:
    """Weights that are the identity but for the matrices given, of which so many columns are used as
    there are.
    """
    parts = {role: np.eye(sizes.d_in, sizes.width_of(role)) for role in LETTER}
    given = {role: matrix[:, : sizes.width_of(role)] for role, matrix in matrices.items()}
    return Weights(**parts | {"out": np.eye(sizes.width)} | given)


def column_turned(output: Array) -> bool | None:
    """False if only column 1 is not zero, True if only column 0 is, None otherwise."""
    alive = np.flatnonzero(np.any(output != 0, axis=0)).tolist()
    return not alive[0] if alive in ([0], [1]) else None


def shared_rows(trial: Try, structure: Structure, scheme: Scheme) -> tuple[Scheme, str]:
    """The scheme with the layout of a matrix for several roles.

    Where the rows for values are zero and no others, the output is zero. Then query and key are
    told apart: a row of the output hangs on its own query, but on every visible key.
    """
    order = next(cell.order for cell in structure.all_cells() if cell.order)
    orders = [order, *("".join(p) for p in permutations(order) if "".join(p) != order)]
    for layout in LAYOUTS:
        for candidate in orders:
            guess = replace(scheme, layout=layout, order=candidate)
            if values_lie_there(trial, guess):
                swapped = replace(guess, order=candidate.translate(str.maketrans("qk", "kq")))
                return (swapped if query_is_key(trial, guess) else guess), ""
    return scheme, f"the rows of {order} are taken {scheme.layout}, no trial could tell"


def values_lie_there(trial: Try, scheme: Scheme) -> bool:
    """Whether zeros in what the scheme takes for W_v, and only there, make the output zero."""
    sizes = trial.sizes
    random = trials.random_input(sizes.d_in, sizes.width).double().numpy()
    zero = np.zeros_like(random)
    silent = trial.output(identity(sizes, query=random, key=random, value=zero), scheme, sizes)
    loud = trial.output(identity(sizes, query=zero, key=zero, value=random), scheme, sizes)
    return silent is not None and not silent.any() and loud is not None and bool(loud.any())


def query_is_key(trial: Try, scheme: Scheme) -> bool:
    """Whether what the scheme takes for W_q makes the keys: the last row hangs on it at token 0."""
    sizes = trial.sizes
    rows = np.zeros((3, sizes.d_in, sizes.width))
    for number in range(3):  # input columns 0, 1 and 2 feed query, key and value
        rows[number, number] = 1.0
    weights = identity(sizes, **dict(zip(LETTER, rows, strict=True)))
    x = trials.random_input(sizes.tokens, sizes.d_in, seed=2).double().numpy()
    base = trial.output(weights, scheme, sizes, x)
    moved = []
    for column in (0, 1):
        other = x.copy()
        other[0, column] += 1.0
        output = trial.output(weights, scheme, sizes, other)
        if base is None or output is None:
            return False
        moved.append(not np.allclose(base[-1], output[-1], rtol=1e-4, atol=1e-5))
    return moved == [True, False]
