"""What a function will be asked, with what is right: drawn whole, before the function is loaded.

Numbers are fresh in every plan, so an answer known from elsewhere helps nobody. Each question has four
contents of the same sizes: three for calls, one that lies in the storage of an earlier call meanwhile.

Legend: B batch, H heads, G heads of keys and values, T queries, S keys, D head_dim.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import ceil, log2
from typing import Any

import numpy as np
from numpy.typing import NDArray

from properties.basics.dtypes import FORMATS, Array
from properties.judging.spec import Spec
from properties.truth.attend import attend
from properties.truth.bounds import attend_budget
from properties.truth.bounds.rows import Rows, rows_error, rows_of_call
from properties.truth.request import Seen
from properties.vectors.exact import Exact
from properties.vectors.vector import Options, Vector

CONTENTS = 4
SHORT = 64  # keys up to which every row is compared, by the bounds of any call
STEEP = 64.0  # the score of a key that outweighs thousands of others in every format
EDGES = (0, 63, 64, 127, 128, 255, 511, 512, 1023)
"""Where tiles begin and end."""


@dataclass(frozen=True)
class Sizes:
    """Of one question. roles: what is told beside the arrays; kind: "", "zeros" or "alike"."""

    B: int
    H: int
    T: int
    S: int = 0
    G: int = 0
    roles: tuple[str, ...] = ()
    causal: bool = False
    scale: float | None = None
    kind: str = ""


@dataclass(frozen=True, eq=False)
class Content:
    """One call. rows: the queries whose results are compared; right, allowed: (B, H, rows, E)."""

    vector: Vector
    rows: NDArray[np.intp]
    right: Array
    allowed: Array


@dataclass(frozen=True, eq=False)
class Question:
    """Four contents of the same sizes; special: whether an answer without any attention may be right."""

    about: str
    dtype: str
    special: bool
    contents: tuple[Content, ...]


@dataclass(frozen=True, eq=False)
class Plan:
    """All questions, and the seed that they were drawn by."""

    spec: Spec
    seed: int
    questions: tuple[Question, ...]


def freeze(spec: Spec, seed: int) -> Plan:
    """The plan for a spec."""
    draw = np.random.default_rng(seed)
    questions = [
        question(spec, sizes, spec.head_dims[number % len(spec.head_dims)], dtype, draw)
        for dtype in spec.formats
        for number, sizes in enumerate(asked(spec))
    ]
    return Plan(spec, seed, tuple(questions))


def asked(spec: Spec) -> Iterator[Sizes]:
    """Each thing that it claims alone, then together; what is special; many keys."""
    always, flag = spec.causal is True, isinstance(spec.causal, str)
    few = min(7, spec.tokens)
    plain = Sizes(2, 3, few, causal=always)
    yield plain
    yield replace(plain, B=3, H=2, T=1)
    yield replace(plain, B=2, H=2, T=min(5, spec.tokens), kind="zeros")
    yield replace(plain, B=2, H=2, T=min(5, spec.tokens), kind="alike")
    yield replace(plain, B=1, H=2, T=min(33, spec.tokens))
    for role in spec.roles:
        yield replace(plain, H=2, roles=(role,))
    if flag:
        yield replace(plain, causal=True)
    if isinstance(spec.scale, str):
        yield replace(plain, scale=0.75)
    shared = replace(plain, B=1, H=6, G=2) if spec.groups else plain
    if spec.groups:
        yield shared
        yield replace(plain, B=2, H=3, G=1)
    if len(spec.at_once) + flag + spec.groups > 1:
        yield replace(shared, roles=spec.at_once, causal=always or flag)
    if spec.cross:
        more = min(11, spec.tokens)
        yield replace(plain, T=1, S=more)
        yield replace(plain, T=min(3, spec.tokens), S=more, causal=always or flag)
    if spec.tokens > SHORT:
        yield replace(plain, B=1, H=1, T=spec.tokens)
        if flag:
            yield replace(plain, B=1, H=1, T=spec.tokens, causal=True)


def question(
    spec: Spec, sizes: Sizes, width: int, dtype: str, draw: np.random.Generator
) -> Question:
    """One question with its contents."""
    keys = sizes.S or sizes.T
    long = keys > SHORT
    make = long_content if long else content
    contents = [make(spec, sizes, width, dtype, draw) for _ in range(CONTENTS)]
    told = list(sizes.roles)
    told += ["causal"] if sizes.causal else []
    told += ["a scale"] if sizes.scale is not None else []
    told += (
        [{"zeros": "all inputs zero", "alike": "all scores alike"}[sizes.kind]]
        if sizes.kind
        else []
    )
    shape = f"B {sizes.B}, H {sizes.H}, " + (f"G {sizes.G}, " if sizes.G else "")
    about = f"{shape}T {sizes.T}, S {keys}, D {width}" + "".join(f", {word}" for word in told)
    return Question(about, dtype, bool(sizes.kind) or keys == 1, tuple(contents))


def content(spec: Spec, sizes: Sizes, width: int, dtype: str, draw: np.random.Generator) -> Content:
    """Every row is compared."""
    vector = drawn(spec, sizes, width, draw)
    call = vector.call
    attended = attend(call.queries, call.keys, call.values, call.request)
    arrays = (call.queries, call.keys, call.values)
    budget = attend_budget(*arrays, call.request, attended, dtype)
    return Content(vector, np.arange(sizes.T), attended.context, budget.context)


def drawn(spec: Spec, sizes: Sizes, width: int, draw: np.random.Generator) -> Vector:
    """Small integers times a quarter: exact in every format."""
    keys = sizes.S or sizes.T
    kept = {"": (1, 1, 1), "alike": (0, 1, 1), "zeros": (0, 0, 0)}[sizes.kind]
    shapes = (
        (sizes.B, sizes.H, sizes.T, width),
        (sizes.B, sizes.G or sizes.H, keys, width),
        (sizes.B, sizes.G or sizes.H, keys, width),
    )
    q, k, v = (
        Exact(draw.integers(-8, 9, shape) * keep, 0.25)
        for shape, keep in zip(shapes, kept, strict=True)
    )
    told: dict[str, Any] = {"causal": True if sizes.causal else None}
    told["scale"] = spec.scale if isinstance(spec.scale, float | int) else sizes.scale
    shape = (sizes.B, sizes.H, sizes.T, keys)
    if "bias" in sizes.roles:
        told["bias"] = Exact(draw.integers(-8, 9, shape), 0.5)
    if "padding" in sizes.roles:
        told["padding"] = np.arange(keys) < draw.integers(1, max(2, keys), (sizes.B, 1))
    vector = Vector(0, "", q, k, v, Options(**told), align=spec.corner)
    if "mask" not in sizes.roles:
        return vector
    mask = draw.random(shape) < 0.6
    nothing = ~vector.told(mask=mask).visible.any(axis=-1)
    mask[..., 0] |= nothing  # the first key is seen by all that see any
    return vector.told(mask=mask)


def long_content(
    spec: Spec, sizes: Sizes, width: int, dtype: str, draw: np.random.Generator
) -> Content:
    """Rows that one key has to itself, the first, the last, at edges of tiles; others are not compared."""
    keys = sizes.T
    edges = [place for place in EDGES if place < keys - 1]
    places = [keys - 1, *draw.permutation(edges)][:width]
    scale = spec.scale if isinstance(spec.scale, float | int) else width**-0.5
    k = draw.integers(-1, 2, (1, 1, keys, width))
    q = draw.integers(-1, 2, (1, 1, keys, width))
    loud = 2 ** ceil(log2(STEEP / max(abs(scale), 1e-3) / 16.0))
    rows: dict[int, int] = {keys - 1 - i: i for i in range(len(places))}
    for column, place in enumerate(places):
        k[0, 0, place] = 0
        k[0, 0, place, column] = 16
        rows |= {row: column for row in (place - 1, place, place + 1) if 0 <= row < keys}
    for row, column in rows.items():
        q[0, 0, row] = 0
        q[0, 0, row, column] = loud
    v = draw.integers(0, 9, k.shape)
    told: dict[str, Any] = {"causal": True if sizes.causal else None}
    told["scale"] = spec.scale if isinstance(spec.scale, float | int) else None
    exact = [Exact(part, 1.0) for part in (q, k, v)]
    vector = Vector(0, "", exact[0], exact[1], exact[2], Options(**told), align=spec.corner)
    return of_rows(vector, sorted(rows), dtype)


def of_rows(vector: Vector, rows: list[int], dtype: str) -> Content:
    """What is right of some queries of a long call."""
    call, some = vector.call, np.array(rows)
    queries = call.queries[:, :, some]
    request = replace(call.request, visible=vector.reach(*vector.shape[2:])[some])
    attended = attend(queries, call.keys, call.values, request)
    of_call = spread(
        rows_of_call(queries, call.keys, call.values, request, attended), vector.shape[3]
    )
    allowed = sum(rows_error(of_call, FORMATS[name]) for name in (dtype, "float64"))
    return Content(vector, some, attended.context, np.asarray(allowed)[None, :, : len(rows)])


def spread(rows: Rows, keys: int) -> Rows:
    """With rows of zeros, until there are as many as keys, by whose number errors are counted."""

    def longer(part: Array) -> Array:
        more = np.zeros((part.shape[0], keys - part.shape[1], part.shape[2]), dtype=part.dtype)
        return np.concatenate([part, more], axis=1)

    return Rows(
        longer(rows.output),
        longer(rows.magnitude),
        longer(rows.largest),
        longer(rows.others),
        rows.value,
        longer(rows.zero),
    )


def seen(vector: Vector) -> Seen:
    """The mask as it is handed in, (B, H, T, S)."""
    shown: Seen = np.broadcast_to(np.asarray(vector.options.mask), vector.shape)
    return shown
