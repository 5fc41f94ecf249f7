"""Rows of calls that see the same and so have to be the same, whatever else the calls were told.

A row is one query of one head, or one token's output of a module.

Legend: B batch, H query heads, T queries, S keys, E columns of a value, W width of an output.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from properties.basics.dtypes import Array
from properties.cases.question import Question
from properties.findings.call_tape import Asked
from properties.truth.attend import repeated
from properties.truth.oracle import split

Place = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Rows:
    """The output of a call by rows: found and allowed are (B, H, T, E), or (B, T, W) of a module; keys:
    everything that a row may depend on, by its place; rows that see nothing are left out.
    """

    found: Array
    allowed: Array
    keys: dict[Place, bytes]


def rows_of(call: Asked) -> Rows | None:
    """The rows of an answer; None where there is none of the right shape."""
    asked = call.question
    if call.answer is None or call.answer.output.shape != asked.truth.output.shape:
        return None
    parts = call.answer.output, asked.truth.allowed
    if asked.function:
        found, allowed = (split(part, asked.shape[1]) for part in parts)
        return Rows(found, allowed, of_function(asked))
    return Rows(*parts, of_module(asked))


def of_function(asked: Question) -> dict[Place, bytes]:
    """By item, head and query: the query, the scale, the cap, and the keys that are seen, in any order,
    each with its value and what is added to its score.
    """
    heads, request = asked.shape[1], asked.request
    queries = asked.inputs["queries"]
    keys, values = (repeated(asked.inputs[name], heads) for name in ("keys", "values"))
    seen, bias = request.seen(asked.shape), added(asked)
    factor = f"{request.factor(queries.shape[-1]):.12g} {request.cap}".encode()
    found: dict[Place, bytes] = {}
    for b, h, i in np.ndindex(*asked.shape[:3]):
        mixed = sorted(
            plain(keys[b, h, j]) + plain(values[b, h, j]) + plain(bias[b, h, i, j])
            for j in np.flatnonzero(seen[b, h, i])
        )
        if mixed:
            found[b, h, i] = b"|".join((factor, plain(queries[b, h, i]), *mixed))
    return found


def of_module(asked: Question) -> dict[Place, bytes]:
    """By item and token: the token, and for each head the tokens that are seen, in any order, each with
    what is added to its score, and how far it stands where that plays a part.
    """
    x = asked.inputs["x"]
    tokens = asked.inputs.get("context", x)
    values = asked.inputs.get("context_values", tokens)
    seen, bias = asked.request.seen(asked.shape), added(asked)
    placed = asked.rotary is not None
    found: dict[Place, bytes] = {}
    for b, i in np.ndindex(*x.shape[:2]):
        heads = [
            b"|".join(
                sorted(
                    plain(tokens[b, j])
                    + plain(values[b, j])
                    + plain(bias[b, h, i, j])
                    + (str(j - i).encode() if placed else b"")
                    for j in np.flatnonzero(seen[b, h, i])
                )
            )
            for h in range(asked.shape[1])
        ]
        if all(heads):
            found[b, i] = b"||".join((plain(x[b, i]), *heads))
    return found


def added(asked: Question) -> Array:
    """What is added to each score, (B, H, T, S)."""
    bias = asked.request.bias
    return np.broadcast_to(0.0 if bias is None else bias, asked.shape)


def plain(numbers: Array) -> bytes:
    """The numbers, without negative zeros."""
    return (np.asarray(numbers) + 0.0).tobytes()


@dataclass(frozen=True, eq=False)
class Pair:
    """Two rows that see the same and are not the same, in one call or two. whole: whether the calls see
    the same row by row, so that all of the outputs may be compared.
    """

    first: Place
    second: Place
    allowed: Array
    whole: bool


def apart(one: Asked, other: Asked) -> Iterator[Pair]:
    """The rows of two calls that are further apart than both may be from what is right."""
    first, second = rows_of(one), rows_of(other)
    if first is None or second is None:
        return
    whole = first.keys == second.keys
    places = {key: place for place, key in reversed(first.keys.items())}
    for place, key in second.keys.items():
        twin = place if first.keys.get(place) == key else places.get(key)
        if twin is None:
            continue
        allowed = first.allowed[twin] + second.allowed[place]
        if off(second.found[place], first.found[twin], allowed):
            both = first.allowed + second.allowed if whole else allowed
            yield Pair(twin, place, both, whole)
            return


def off(found: Array, right: Array, allowed: Array) -> bool:
    """Whether a number is further off than allowed."""
    with np.errstate(all="ignore"):
        same = (found == right) | (np.isnan(found) & np.isnan(right))
        return bool((~same & ~(np.abs(found - right) <= allowed) & np.isfinite(allowed)).any())
