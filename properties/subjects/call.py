"""One call of attention in a fixed form: what goes in, what it is told besides, what comes out.

An adapter turns this form into the subject's own arguments and back, by the conventions that were
found for it. Everything is float64 or boolean NumPy.

Legend: B batch, H query heads, G key-value heads (G divides H), T queries, S keys, D head_dim,
E the width of a value, W = H * E.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from properties.basics.dtypes import Array

Seen = NDArray[np.bool_]
Lengths = NDArray[np.int64]

ROLES = {
    "mask": "which keys a query sees, as booleans",
    "bias": "numbers added to the scores",
    "padding": "which keys of an item are real and not padding",
    "padding_numbers": "the same of keys as numbers, which are added to their scores",
    "causal": "whether the future is hidden",
    "window": "how many keys before and after itself a query sees",
    "scale": "what the scores are multiplied by",
    "cap": "a bound on the scores, c tanh(z / c)",
    "slopes": "one slope for each head, of a bias that grows with distance (ALiBi)",
    "groups": "fewer heads of keys and values than of queries",
    "lengths": "as many keys as one likes, whatever the number of queries",
    "documents": "documents packed one after the other: where each of them starts",
    "segments": "which segment a token is in, as numbers: it sees that one alone",
    "context": "other tokens, of which keys and values are made",
    "context_mask": "which tokens of the context a query sees, as booleans",
    "context_bias": "numbers added to the scores of queries and tokens of the context",
    "context_padding": "which tokens of the context are real and not padding",
    "start": "at which position the first token stands",
    "context_values": "tokens of which values are made, where keys are made of others",
    "weights": "whether the weights are returned, too",
    "averaged": "whether returned weights are averaged over heads",
    "lse": "whether the logarithm of each row's sum of exponentials is returned, too",
}
"""What a call may be told besides its queries, keys and values; the names of `Arguments`, and the
inputs that not everybody takes."""


@dataclass(frozen=True, eq=False)
class Arguments:
    """What a call is told besides its inputs; None where the argument keeps its default.

    mask: true where a key is seen, broadcastable to (B, H, T, S); bias: likewise, numbers; padding:
    (B, S), true where a key is real; padding_numbers: likewise, added to the scores of the key; window:
    other keys before and after the query's own, -1 for no limit; scale, cap: numbers above zero; slopes:
    (H,), or (B, H); start: the first token's position; weights, lse: whether they are wanted; averaged:
    whether the weights are to be averaged over heads.
    Beside a context these are about the context's tokens, which are the keys then; padding_of_x: (B,
    T), true where a token of x is real, which hides no key of the context. documents: (B, 2), how many
    queries and keys of each item are there, the first ones; they are one document, and the rest is not
    handed over. segments: (B, T), the number of each token's segment, above zero; a key behind them has
    none.
    """

    mask: Seen | None = None
    bias: Array | None = None
    padding: Seen | None = None
    padding_numbers: Array | None = None
    padding_of_x: Seen | None = None
    causal: bool | None = None
    window: tuple[int, int] | None = None
    scale: float | None = None
    cap: float | None = None
    slopes: Array | None = None
    start: int | None = None
    documents: Lengths | None = None
    segments: Lengths | None = None
    weights: bool = False
    averaged: bool = False
    lse: bool = False

    def given(self) -> dict[str, Any]:
        """The arguments that do not keep their defaults, by name."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {n: v for n, v in values.items() if v is not None and v is not False}


@dataclass(frozen=True)
class Conventions:
    """Which of the known answers to a question of taste a subject gives; "" where it was not found.

    mask, padding: what True means, "attend" or "hide", and context_mask, context_padding: in the masks of
    a context; a padding may be the number of real tokens instead, the first ones: it "counts"; align:
    where the diagonal lies if T is not S, of the causal flag, of a window and of slopes, "top left" or
    "bottom right", or "x alone" where a module hides nothing of a context; window: "others" besides the
    query's own key, or "counting oneself"; sides: whether a window has "one" width, of the past, one for
    "both" sides, or "two"; empty: what a row that sees nothing gives, "zeros", "nan", "uniform" or, where
    a number is added to the scores of what is hidden, a "mixture" of all values, by what rounding leaves
    of the scores; weights: "per head" or "averaged"; lse: "natural" or "base 2", and lse_axes: "B H T" or
    "B T H".
    """

    mask: str = ""
    padding: str = ""
    context_mask: str = ""
    context_padding: str = ""
    align: str = ""
    window: str = ""
    sides: str = ""
    empty: str = ""
    weights: str = ""
    lse: str = ""
    lse_axes: str = ""


ANSWERS = {
    "mask": ("attend", "hide"),
    "padding": ("attend", "hide", "counts"),
    "context_mask": ("attend", "hide"),
    "context_padding": ("attend", "hide", "counts"),
    "align": ("top left", "bottom right", "x alone"),
    "window": ("others", "counting oneself"),
    "sides": ("one", "both", "two"),
    "empty": ("zeros", "nan", "uniform", "mixture"),
    "weights": ("per head", "averaged"),
    "lse": ("natural", "base 2"),
    "lse_axes": ("B H T", "B T H"),
}
"""The known answers to each convention. What fits none of them is an error."""

PLACED = ("causal", "window", "slopes")
"""The roles whose effect depends on where the diagonal lies, if T is not S."""

CONCERNS: dict[str, tuple[tuple[str, ...], ...]] = {
    "mask": (("mask",),),
    "padding": (("padding",),),
    "context_mask": (("context_mask",),),
    "context_padding": (("context_padding",),),
    "align": (PLACED, ("lengths",)),
    "window": (("window",),),
    "sides": (("window",),),
    "empty": (("mask",),),
    "weights": (("weights",),),
    "lse": (("lse",),),
    "lse_axes": (("lse",),),
}
"""The roles without which a convention means nothing: one of each group."""


def axes(layout: str) -> str:
    """(B, T, H, D), or (B, H, T, D) and (B, S, D)."""
    return " and ".join(f"({', '.join(part.split())})" for part in layout.split(" and "))


def lacking(convention: str, takes: Collection[str]) -> tuple[str, ...]:
    """The roles of which a subject takes none, so that the convention means nothing of it; () for none."""
    groups = CONCERNS[convention]
    return next((roles for roles in groups if not set(roles) & set(takes)), ())


ORIGINS = ("trial", "signature of", "docstring", "declared")
"""How an answer may be known: found by trial, promised by arguments named as somebody's are (who
follows), said in the docstring, or declared by who asks."""


def offered(takes: Mapping[str, str], conventions: Conventions) -> set[str]:
    """What a subject offers that takes these roles, in the words of capabilities."""
    further = {
        "told by calls": bool(takes),
        "returns more": any(role in takes and takes[role] for role in ("weights", "lse")),
        "two-sided window": "window" in takes and conventions.sides == "two",
        "hides by calls": bool({"mask", "causal", "window"} & set(takes)),
        "padding anywhere": "padding" in takes and conventions.padding != "counts",
        "padding of x": "context" in takes
        and "padding" in takes
        and "context_values" not in takes  # whose mask of keys is of what keys are made of
        and takes["padding"] not in {takes.get("context_mask"), takes.get("context_padding")},
    }
    return {f"takes {role}" for role in takes} | {name for name, there in further.items() if there}


@dataclass(frozen=True, eq=False)
class Answer:
    """What a call gave: output (B, T, W), heads side by side; weights (B, H, T, S), or (B, T, S) where
    they are averaged; lse (B, H, T). None: not asked for, or not returned. touched: what the call was
    given and holds other numbers since; shared: what shares its memory with the output.
    """

    output: Array
    weights: Array | None = None
    lse: Array | None = None
    touched: tuple[str, ...] = ()
    shared: tuple[str, ...] = ()


@dataclass(frozen=True)
class Handing:
    """How a call is made: how its tensors are handed over, which no answer depends on.

    gradients: whether inputs require one; again: whether the same tensors held other numbers in a call
    before; stored: how one of them lies in memory, "transposed" or "spaced" (with NaN or True between
    its numbers); which: "queries", "keys" or "values", or "told" for what is told besides. Of a module:
    training: whether it is in that mode. And, on which an answer does depend, dropout: the probability
    with which weights are dropped.
    """

    gradients: bool = False
    training: bool = False
    again: bool = False
    stored: str = ""
    which: str = ""
    dropout: float = 0.0


PLAINLY = Handing()

Inputs = Mapping[str, Array]
"""Of a function: queries (B, H, T, D), keys (B, G, S, D), values (B, G, S, E). Of a module: x
(B, T, d_in), and context (B, S, d_context), where keys and values are made of other tokens;
context_values, as large, where values are made of tokens of their own."""
