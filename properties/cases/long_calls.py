"""Long rows for functions of queries, keys and values, with what hides in them: see `long_rows.py`.

Queries, keys and values are those that the projections there select. One head, or two heads of keys
and values of which each is read by two of queries; then the keys of the second are in another order.

Legend: B items, H heads, G heads of keys and values, T tokens, D head_dim.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from properties.basics.assertions import near
from properties.basics.dtypes import FORMATS, Array
from properties.cases import long_rows
from properties.cases.case import Case
from properties.cases.long_rows import STEP, digits
from properties.cases.question import Question
from properties.subjects.call import Arguments, Inputs, Seen
from properties.subjects.limits import Limits
from properties.subjects.subject import Subject
from properties.truth.attend import attend
from properties.truth.bounds.rows import rows_error, rows_of_call
from properties.truth.oracle import merge
from properties.truth.parameters import Sizes

LENGTHS = {65: 4, 130: 4, 257: 1}
"""Keys in a row, and items of that length."""


@lru_cache(maxsize=128)
def share(subject: Subject, role: str, tokens: int, dtype: str) -> float:
    """The share of the budget that long rows use in a call with a "mask", a "window" or "groups"."""
    asked = question(subject, role, tokens, dtype)
    right, allowed = truth(asked)
    what = f"among {tokens} keys in {dtype} {asked.words} to give an output of"
    return near(what, asked.answer().output, right, allowed, "batch query column")


def question(subject: Subject, role: str, tokens: int, dtype: str) -> Question:
    """The call of long rows; the mask hides a third of all keys, the window's past is half a row."""
    causal = role == "window"
    inputs = parts(tokens, STEP[dtype], causal, role == "groups", subject.limits)
    told: dict[str, Any] = {}
    if role == "mask":
        told["mask"] = hiding(tokens)
    if role == "window":
        left = tokens // 2 + 3
        inputs = {**inputs, "queries": at_the_end(inputs["queries"], left)}
        told["window"] = (left, 0)
        told["causal"] = True if "causal" in subject.takes else None
    batch, heads, _, head_dim = inputs["queries"].shape
    sizes = Sizes(batch, tokens, heads * head_dim, heads, head_dim, tokens)
    x = merge(inputs["queries"])
    case = Case(subject, sizes, dtype, x, x, None, False, 0.0, cut=0, seed=0, about="long rows")
    return Question(case, inputs, Arguments(**told))


@lru_cache(maxsize=32)
def parts(tokens: int, step: float, causal: bool, grouped: bool, limits: Limits) -> Inputs:
    """Queries (B, H, T, D), keys and values (B, G, T, D); the same for all subjects of these limits."""
    items = LENGTHS[tokens]
    asked = long_rows.Question(
        tokens, items, step, causal, scaled=True, square=False, limits=limits
    )
    x, matrices = long_rows.any_keys(asked)
    queries, keys, values = ((x @ matrix)[:, None] for matrix in matrices)
    if grouped:
        turned = np.roll(keys, tokens // 3, axis=2)
        queries = np.repeat(queries, 4, axis=1)
        keys = np.concatenate([keys, turned], axis=1)
        values = np.concatenate([values, values], axis=1)
    return {"queries": queries, "keys": keys, "values": values}


def at_the_end(queries: Array, left: int) -> Array:
    """Queries of which one in six is dominated by the last key of its window or by the next one, which it
    does not see: in short formats no other row tells.
    """
    items, _, tokens, _ = queries.shape
    codes, place = digits(tokens), np.arange(tokens)
    beyond = (place // 4) % 3 - 1  # -1: as it was, 0: the last key, 1: the next
    any_key = (place + np.arange(items)[:, None]) % 4 == 1  # (B, T), see `long_rows`
    item, row = np.nonzero(any_key & (beyond >= 0) & (place > left))
    changed = queries.copy()
    picked = codes[row - left - beyond[row]]
    factor = changed[item, 0, row].max(axis=-1, keepdims=True)
    changed[item, 0, row, : codes.shape[1]] = factor * picked
    return changed


def hiding(tokens: int) -> Seen:
    """(1, 1, T, T), true where a key is seen: two thirds of all, and each query's own."""
    mask = np.random.default_rng(tokens).random((tokens, tokens)) < 2.0 / 3.0
    seen: Seen = (mask | np.eye(tokens, dtype=np.bool_))[None, None]
    return seen


def truth(asked: Question) -> tuple[Array, Array]:
    """The right output and the error that it may have, both (B, T, W), the oracle's share included."""
    q, k, v = (asked.inputs[name] for name in ("queries", "keys", "values"))
    attended = attend(q, k, v, asked.request)
    rows = rows_of_call(q, k, v, asked.request, attended)
    allowed = sum(rows_error(rows, FORMATS[name]) for name in (asked.case.dtype, "float64"))
    return merge(attended.context), merge(np.reshape(allowed, attended.context.shape))
