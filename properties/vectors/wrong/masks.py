"""Masks that fall on another axis, come too late, or give way to each other.

Legend: B batch, T queries, S keys.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from properties.truth.request import Seen
from properties.vectors.call import Call, Parts, mixed
from properties.vectors.vector import Vector
from properties.vectors.wrong import step


def shown(vector: Vector) -> Seen | None:
    """What mask and padding show together, (B, H, T, S); None without either, and of documents."""
    told = vector.options
    if (told.mask is None and told.padding is None) or told.starts:
        return None
    return vector.shown


def unmasked(vector: Vector) -> Vector:
    """With nothing hidden by the caller's booleans."""
    return vector.told(mask=None, padding=None)


@step("mask transposed")
def transposed(vector: Vector) -> Call | None:
    """Queries and keys exchanged."""
    mask = vector.options.mask
    if mask is None or vector.shape[2] != vector.shape[3]:
        return None
    return vector.told(mask=np.broadcast_to(mask, vector.shape).swapaxes(-1, -2)).call


@step("padding acts on queries")
def on_queries(vector: Vector) -> Call | None:
    """A token that is padding sees nothing, and is seen."""
    padding = vector.options.padding
    if padding is None or vector.shape[2] != vector.shape[3]:
        return None
    rows = np.broadcast_to(padding[:, None, :, None], vector.shape)
    mask = vector.options.mask
    return vector.told(padding=None, mask=rows if mask is None else rows & mask).call


@step("items of the mask fall on queries")
def items_on_queries(vector: Vector) -> Call | None:
    """(B, S) is read as (T, S), where there are as many items as queries."""
    padding = vector.options.padding
    if padding is None or vector.shape[0] != vector.shape[2]:
        return None
    rows = np.broadcast_to(padding[None, None], vector.shape)
    mask = vector.options.mask
    return vector.told(padding=None, mask=rows if mask is None else rows & mask).call


@step("padding of another item")
def of_another(vector: Vector) -> Call | None:
    """Rows of the padding mask are repeated where items are in turn."""
    padding = vector.options.padding
    return None if padding is None else vector.told(padding=np.roll(padding, 1, axis=0)).call


@step("padding on the other side")
def other_side(vector: Vector) -> Call | None:
    """As many keys are hidden, at the other end: a length is read, and not which keys."""
    padding = vector.options.padding
    return None if padding is None else vector.told(padding=padding[:, ::-1]).call


@step("mask after the softmax")
def after_the_softmax(vector: Vector) -> Parts | None:
    """Weights of all keys, of which those that are hidden become zero: rows do not sum to one."""
    seen = shown(vector)
    if seen is None:
        return None
    call = unmasked(vector).call
    attended = call.attended
    weights = attended.weights * seen
    return replace(mixed(call, weights, attended), weights=weights)


@step("a hidden score is zero")
def zero(vector: Vector) -> Call | None:
    """Multiplied by the mask, or filled with next to nothing."""
    seen = shown(vector)
    if seen is None:
        return None
    call = unmasked(vector).call
    more = np.where(seen, 0.0, -call.attended.logits)
    bias = more if call.request.bias is None else call.request.bias + more
    return replace(call, request=replace(call.request, bias=bias))


@step("a row that sees nothing takes all")
def takes_all(vector: Vector) -> Parts | None:
    """The mean of all values."""
    return of_empty_rows(vector, "uniform")


@step("a row that sees nothing gives NaN")
def gives_nan(vector: Vector) -> Parts | None:
    """Zero divided by zero."""
    return of_empty_rows(vector, "nan")


@step("a row that sees nothing gives zeros")
def gives_zeros(vector: Vector) -> Parts | None:
    """Not what was promised."""
    return of_empty_rows(vector, "zeros")


def of_empty_rows(vector: Vector, empty: str) -> Parts | None:
    """Another convention, where the vector's is known."""
    if not vector.empty or vector.empty == empty:
        return None
    parts = replace(vector, empty=empty).call.parts
    return replace(parts, nothing=np.zeros_like(parts.nothing))


@step("a row that sees nothing harms others")
def harms_others(vector: Vector) -> Parts | None:
    """Its NaN reaches every row of its item."""
    parts = vector.call.parts
    if not parts.nothing.any():
        return None
    harmed = np.asarray(parts.nothing.any(axis=(1, 2)))[:, None, None, None]
    output = np.where(harmed, np.nan, parts.output)
    return replace(parts, output=output, nothing=np.zeros_like(parts.nothing))


def past(end: int) -> None:
    """Enter a mask of so many keys."""

    @step(f"mask ignored past key {end}")
    def ends(vector: Vector) -> Call | None:
        """One block of it is read, be it given or that of the flag."""
        told, keys = vector.options, vector.shape[3]
        if keys <= end or told.window or (told.mask is None and not told.causal):
            return None
        seen = vector.visible | (np.arange(keys) >= end)
        return replace(vector.call, request=replace(vector.call.request, visible=seen))


past(40)
past(64)
past(512)
