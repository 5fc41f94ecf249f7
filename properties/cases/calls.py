"""Drawing what a call is told besides x, for subjects that take it.

Every number is exact in every format. Sizes go by those of the case: as many queries as it has tokens,
as many heads of keys and values as it has heads; the other sizes are drawn beside them.

Legend: B batch, T tokens, G key-value heads, H query heads, D head_dim, S keys.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from properties.basics.dtypes import Array
from properties.cases.call import Call
from properties.cases.documents import drawn_lengths, drawn_segments
from properties.subjects.subject import Subject
from properties.truth.parameters import Sizes

Values = Callable[[tuple[int, ...], str, np.random.Generator], Array]
SCALES = (0.75, 0.375, 1.5, 0.125)
CAPS = (2.0, 0.5, 1.0, 5.0)
SLOPES = (0.5, 0.25, 1.0, 0.125)
FURTHER = (2, -1, 0, 3, 1)  # keys beyond the number of queries
WIDER = (1, -1, 3, 2)  # columns of a context beyond those of x, where it has a width of its own


def draw_call(subject: Subject, s: Sizes, kind: str, seed: int, values: Values) -> Call | None:
    """A call for these sizes; None where nothing can be told. values: draws an array of a kind."""
    if not subject.takes:
        return None
    rng = np.random.default_rng(seed + 2)
    own_keys = "lengths" in subject.takes and "context" not in subject.takes
    keys = s.tokens + further(s.tokens, seed) if own_keys else s.tokens
    shared = 1 + seed % 3 if subject.bare and "groups" in subject.takes else s.shared
    own_heads = subject.bare and s.heads == 1
    groups = 1 + seed % 2 if own_heads else s.key_heads
    heads = groups * shared
    arrays: dict[str, Array] = {}
    if subject.bare:
        arrays["queries"] = values((s.batch, heads, s.tokens, s.head_dim), kind, rng)
        arrays["keys"] = values((s.batch, groups, keys, s.head_dim), kind, rng)
        arrays["values"] = values((s.batch, groups, keys, s.head_dim), "ordinary", rng)
    shape = (s.batch, heads, s.tokens, keys)
    arrays["mask"] = some_seen(shape, rng)
    if not subject.bare:  # a mask that is handed to a module is for all of its heads
        arrays["mask"] = np.broadcast_to(arrays["mask"][:, :1], shape).copy()
    arrays["padding"] = some_seen((s.batch, keys), rng)
    bias = rng.normal(size=shape)  # rounded to the case's format where it is asked
    arrays["bias"] = bias if subject.bare else np.broadcast_to(bias[:, :1], shape).copy()
    own_width = "context" in subject.takes and subject.has("context-width")
    if "context" in subject.takes:
        arrays |= draw_context(s, kind, seed, own_width, values)
    arrays["slopes"] = np.array([SLOPES[(h + seed) % len(SLOPES)] for h in range(heads)])
    if "documents" in subject.takes:
        arrays["documents"] = drawn_lengths(s.batch, s.tokens, keys, seed, own_keys)
    if "segments" in subject.takes:
        arrays["segments"] = drawn_segments(s.batch, s.tokens, seed)
    numbers = {
        "scale": SCALES[seed % len(SCALES)],
        "cap": CAPS[seed % len(CAPS)],
        "left": float(seed % 4),
        "right": float(seed % 3),
    }
    return Call(arrays, numbers, shared, own_keys, own_heads, own_width)


def may_be_told(subject: Subject, call: Call | None, s: Sizes) -> bool:
    """Whether a call of these sizes is one of those that are drawn for a subject: a remembered one may be
    of the time before it changed.
    """
    drawn = draw_call(subject, s, "ordinary", 0, lambda shape, kind, rng: np.zeros(shape))
    if call is None or drawn is None:
        return call is drawn
    if call.shared > 1 and subject.bare and "groups" not in subject.takes:
        return False
    own = (call.own_keys, call.own_width) == (drawn.own_keys, drawn.own_width)
    return own and call.arrays.keys() == drawn.arrays.keys()


def draw_context(
    s: Sizes, kind: str, seed: int, own_width: bool, values: Values
) -> dict[str, Array]:
    """Other tokens for a module, what hides some of them, and projections where they are of a width of
    their own.
    """
    rng = np.random.default_rng(seed + 5)
    tokens = max(1, s.tokens + FURTHER[seed % len(FURTHER)])
    width = max(s.d_in + WIDER[seed % len(WIDER)], 1) if own_width else s.d_in
    shape = (s.batch, s.heads, s.tokens, tokens)
    bias = np.broadcast_to(rng.normal(size=(s.batch, 1, s.tokens, tokens)), shape)
    arrays = {
        "context": values((s.batch, tokens, width), kind, rng),
        "context_mask": np.broadcast_to(some_seen((s.batch, 1, *shape[2:]), rng), shape),
        "context_bias": bias,
        "context_padding": some_seen((s.batch, tokens), rng),
    }
    if own_width:
        of_width = (width, s.key_heads, s.head_dim)
        for name in ("context_key", "context_value"):
            arrays[name] = values(of_width, "ordinary", rng) / 2.0 ** (width.bit_length() // 2)
    return {name: array.copy() for name, array in arrays.items()}


def some_seen(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Ones where a key is seen, two thirds of them; every row sees one at least."""
    seen = (rng.random(shape) < 2.0 / 3.0).astype(np.float64)
    one = rng.integers(0, shape[-1], size=shape[:-1])
    np.put_along_axis(seen, one[..., None], 1.0, axis=-1)
    return seen


def further(queries: int, seed: int) -> int:
    """Keys beyond the number of queries. One query meets several, as in decoding; for seeds that are odd
    also one.
    """
    more = FURTHER[seed % len(FURTHER)]
    return more if queries > 1 or more > 0 else (seed + 1) % 2
