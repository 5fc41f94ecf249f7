"""Rows of many keys, cheaply: every position as two digits, so that a query can pick any key.

**Digits.** With b the smallest number whose square is at least T, the code of token j is 2 b numbers:
one at j // b, one at b + j % b, zero elsewhere. A query that is a times the code of token t has the
score 2 a with key t, a with those that share a digit with it and 0 with all others. The values are
the codes, so a context says which keys were mixed. That takes some 4 sqrt(T) columns of input where
one-hot tokens take T. Half of them hold the queries, half of them keys and values; the projections
select them, exactly, since they multiply by zero and one.

**Rows.** Of four rows in turn the first is dominated by the key at its own place, the second by any
key that it sees, while all its scores are far below zero; the third is mild, and the fourth scores
all keys alike. The turn is another one in each item. The plain family, where queries are keys, has an
item of steep codes and one of mild ones, whose last token is zero.

Legend: B items, T tokens, D head_dim; there is one head, so W = D.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache
from math import ceil, isqrt, log2

import numpy as np

from properties.basics.dtypes import FORMATS, Array
from properties.basics.errors import OutsideError
from properties.cases.case import Case
from properties.cases.strategies import PLAIN_SIZES, coincide, make_case
from properties.subjects.limits import Limits
from properties.subjects.subject import CAUSAL_FAMILIES, Subject
from properties.truth import oracle
from properties.truth.bounds.rows import Rows, rows_error, rows_of
from properties.truth.parameters import Sizes, Weights

STEP = {"float64": 800.0, "float32": 800.0, "bfloat16": 128.0, "float16": 128.0}
"""Between the scores of a steep row, at least: minus one step has an exponential of zero in the
format, and rounding makes less of it than a step. More would leave the range of float16."""
DEEP = 3.0  # steps below: no score of 2, 1 or 0 steps is then above minus one step
LENGTHS = {
    "quick": {33: 4, 65: 4, 130: 4},
    "ci": {257: 4, 1025: 1},
    "thorough": {4097: 1},
}
"""By the first profile that asks for them: keys in a row, and items of that length."""
GOLDEN = (5.0**0.5 - 1.0) / 2.0  # multiples of it, modulo 1, are spread evenly


@dataclass(frozen=True)
class Question:
    """All that is asked but for the subject. scaled: not the plain family; square: d_in is head_dim;
    unscaled: another family whose scores are not scaled; limits: of the head_dims that are taken.
    """

    tokens: int
    items: int
    step: float
    causal: bool
    scaled: bool
    square: bool
    unscaled: bool = False
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, eq=False)
class Truth:
    """Input (B, T, d_in), projections (d_in, D), and the right output with what it depends on."""

    x: Array
    matrices: tuple[Array, Array, Array] | None
    rows: Rows

    def allowed(self, dtype: str) -> Array:
        """The error that the output (B, T, W) may have, the oracle's own share included."""
        own, oracle = (rows_error(self.rows, FORMATS[name]) for name in (dtype, "float64"))
        return own + oracle


def lengths(profile: str) -> dict[int, int]:
    """The keys in a row that a profile asks for, with the items of that length."""
    order = list(LENGTHS)
    asked = order[: order.index(profile) + 1]
    return {tokens: items for name in asked for tokens, items in LENGTHS[name].items()}


def long_rows(subject: Subject, tokens: int, items: int, dtype: str) -> tuple[Case, Truth]:
    """The example for a subject, and what is right for it."""
    causal, scaled = subject.family in CAUSAL_FAMILIES, subject.family != "plain"
    square = not subject.has("rectangular")
    limits = Limits() if subject.family == "plain" else subject.limits
    truth = answer(
        Question(tokens, items, STEP[dtype], causal, scaled, square, not subject.scaled, limits)
    )
    batch, _, d_in = truth.x.shape
    sizes = Sizes(batch, tokens, d_in, 1, truth.rows.output.shape[-1], tokens)
    biased = scaled and subject.has("always-biased")
    case = Case(
        subject,
        sizes,
        dtype,
        truth.x,
        truth.x,
        parameters(subject, truth.matrices),
        bias=biased,
        dropout=0.5,
        cut=0,
        seed=0,
        about="long rows",
    )
    return case, truth


def turned_rows(subject: Subject, tokens: int, dtype: str) -> Case:
    """An example of so many tokens whose queries and keys are turned by their positions: general numbers.

    OutsideError where fewer tokens are taken.
    """
    base = replace(PLAIN_SIZES, batch=1, tokens=tokens, heads=2, head_dim=8)
    sizes = coincide(base, "all different", subject)
    if sizes.tokens < tokens:
        raise OutsideError(f"{tokens} tokens")
    return make_case(subject, sizes, dtype, "ordinary", False, 0.5, 0, tokens)


def parameters(subject: Subject, matrices: tuple[Array, Array, Array] | None) -> Weights | None:
    """The projections, with biases of zero where there have to be some, and the identity at the end."""
    if matrices is None:
        return None
    width = matrices[0].shape[1]
    zero = np.zeros(width)
    bias = zero if subject.has("always-biased") else None
    out = np.eye(width) if subject.has("out-projection") else None
    out_bias = zero if subject.has("out-projection") and subject.has("out-bias") else None
    return Weights(*matrices, bias, bias, bias, out, out_bias)


@lru_cache(maxsize=16)
def answer(q: Question) -> Truth:
    """The input and the truth; they are the same for all subjects, and for formats of one step."""
    x, matrices = any_keys(q) if q.scaled else own_keys(q)
    weights = None if matrices is None else Weights(*matrices)
    trace = oracle.attention(x, weights, causal=q.causal, scaled=q.scaled and not q.unscaled)
    rows = rows_of(trace, causal=q.causal, scaled=q.scaled and not q.unscaled)
    return Truth(x, matrices, rows)


def any_keys(q: Question) -> tuple[Array, tuple[Array, Array, Array]]:
    """Input and projections of a family that has some."""
    codes = digits(q.tokens)
    dims = codes.shape[1] + 2  # one to lower all scores of a row, one that keeps the number even
    head_dim = q.limits.head_dim(2 * dims if q.square else dims)
    d_in = head_dim if q.square else 2 * dims
    step, mild = (2.0 ** ceil(log2(s * head_dim**0.5)) for s in (q.step, 0.5))
    place = np.arange(q.tokens)
    kind = (place + np.arange(q.items)[:, None]) % 4  # (B, T)
    factor, lowered = (np.array(of)[kind] for of in ((step, step, mild, 0), (0, DEEP * step, 0, 0)))
    picked = np.where(kind == 0, place, spread(q))
    x = np.zeros((q.items, q.tokens, d_in))
    x[..., : dims - 2] = factor[..., None] * codes[picked]
    x[..., dims - 2] = -lowered
    x[..., dims : 2 * dims - 2] = codes
    x[..., 2 * dims - 2] = 1.0
    first, second = np.eye(d_in, head_dim), np.eye(d_in, head_dim, k=-dims)
    value = second.copy()
    value[2 * dims - 2] = 0.0  # the values are the codes alone
    return x, (first * (np.arange(head_dim) < dims), second, value)


def own_keys(q: Question) -> tuple[Array, None]:
    """The input of the plain family: codes times the root of a step, and codes."""
    codes = digits(q.tokens)
    steep = 2.0 ** ceil(log2(q.step) / 2.0) * codes
    mild = codes.copy()
    mild[-1] = 0.0
    return np.stack([steep, mild]), None


def digits(tokens: int) -> Array:
    """The code of every token, (T, 2 b)."""
    base = isqrt(tokens - 1) + 1
    place, one_hot = np.arange(tokens), np.eye(base)
    return np.concatenate([one_hot[place // base], one_hot[place % base]], axis=1)


def spread(q: Question) -> np.ndarray[tuple[int, int], np.dtype[np.int_]]:
    """A key that each query sees, (B, T): from item to item, and from row to row, far apart."""
    place, item = np.arange(q.tokens), np.arange(q.items)[:, None]
    share = (GOLDEN * place + item / q.items) % 1.0
    return (share * (place + 1 if q.causal else q.tokens)).astype(int)
