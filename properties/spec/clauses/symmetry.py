"""symmetry/: what may be exchanged, permuted or turned without changing the result.

Legend: B batch, T tokens, H heads, D head_dim.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np

from properties.basics.assertions import near
from properties.basics.dtypes import Array
from properties.cases.budgets import difference, one_run
from properties.cases.case import Case
from properties.cases.devices import with_queries_keys_values
from properties.spec.clause import Level, clause
from properties.spec.clauses.conditions import (
    ALIVE,
    DIFFERENT_SCORES,
    SEVERAL_ITEMS,
    SEVERAL_TOKENS,
    exact_inputs,
    shrunk,
)
from properties.subjects.subject import CAUSAL_FAMILIES, FAMILIES, PROJECTED_FAMILIES

POWER = 6  # 2**6 takes numbers of order one past any usual clipping, and stays inside float16


@clause(
    "symmetry/batch-permutation",
    Level.MUST,
    "Batch items in another order give their outputs in that order.",
    needs={"batched"},
    counts=SEVERAL_ITEMS,
    after=("numerics/deterministic-in-eval",),
)
def batch_permutation(case: Case) -> float:
    """An item has no place: it is moved by one or more."""
    order = moved(case.sizes.batch, case.seed)
    actual, expected, allowed = case.run(case.x[order]), case.output[order], difference(case)[order]
    return near("the same item's", actual, expected, allowed, "batch token column")


@clause(
    "symmetry/batch-independence",
    Level.MUST,
    "A batch item's output is the same in every batch that contains it, of whatever size.",
    needs={"batched"},
    counts=SEVERAL_ITEMS,
    after=("numerics/deterministic-in-eval",),
)
def batch_independence(case: Case) -> float:
    """The first n items alone, for every n, and the last one by itself."""
    instance, batch = case.build(), case.sizes.batch
    worst = 0.0
    for kept in (*(slice(0, n) for n in range(1, batch)), slice(batch - 1, batch)):
        actual, expected, allowed = (
            instance.run(case.x[kept]),
            case.output[kept],
            difference(case)[kept],
        )
        what = f"in a batch of {len(actual)} as in one of {batch}"
        worst = max(worst, near(what, actual, expected, allowed, "batch token column"))
    return worst


@clause(
    "symmetry/token-permutation",
    Level.MUST,
    "Without a mask, tokens in another order give their outputs in that order.",
    families=set(FAMILIES) - CAUSAL_FAMILIES,
    counts=SEVERAL_TOKENS,
    unless={"positions", "unknown places"},
    after=("numerics/deterministic-in-eval",),
)
def token_permutation(case: Case) -> float:
    """Nothing in the formula knows a position; only a mask, or a turn by positions, would."""
    order = moved(case.sizes.tokens, case.seed)
    actual, expected, allowed = (
        case.run(case.x[:, order]),
        case.output[:, order],
        difference(case)[:, order],
    )
    return near("the same token's", actual, expected, allowed, "batch token column")


def moved(size: int, seed: int) -> list[int]:
    """An order of `size` things in which, if there are two or more, not all are where they were."""
    order = np.random.default_rng(seed).permutation(size)
    unmoved = np.array_equal(order, np.arange(size))
    return [int(i) for i in (np.roll(order, 1) if unmoved else order)]


@clause(
    "symmetry/rotating-q-and-k-together",
    Level.MUST,
    "Queries and keys turned by the same orthogonal matrix give the same output (plain: the output "
    "turned by it).",
    needs={"projections"},
    counts=DIFFERENT_SCORES,
    after=("numerics/deterministic-in-eval",),
)
def rotating_queries_and_keys_together(case: Case) -> float:
    """(q R)(k R)^T = q k^T: no coordinate of a head is special, and none is left out. R pairs the
    first coordinate with the last, and so on, by (3 4; 4 -3) / 5, which is exact on multiples of 5.
    """
    straight = on_grid(case)
    if case.subject.family == "plain":
        turned = replace(straight, x=rotated(straight.x))
        expected, error = rotated(straight.output), rotated(one_run(straight), sign=1.0)
    else:
        t = straight.trace
        turned = with_queries_keys_values(straight, rotated(t.queries), rotated(t.keys), t.values)
        expected, error = straight.output, one_run(straight)
    allowed = one_run(turned) + error
    return near("the output before,", turned.output, expected, allowed, "batch token column")


@lru_cache(maxsize=ALIVE)
def on_grid(case: Case) -> Case:
    """The case whose queries and keys (plain: input) are multiples of 5 times a power of two."""
    if case.subject.family == "plain":
        return replace(case, x=shrunk(fives(case.x), 1))
    t = exact_inputs(case).trace
    queries, keys = (fives(part) / 8.0 for part in (t.queries, t.keys))
    return with_queries_keys_values(exact_inputs(case), queries, keys, t.values)


def fives(part: Array) -> Array:
    """`part`, coarsely: 5 times one of -2, -1, 0, 1, 2."""
    largest = np.abs(part).max(initial=0.0)
    return 5.0 * np.rint(2.0 * part / largest) if largest else part


def rotated(part: Array, sign: float = -1.0) -> Array:
    """`part` (..., D) times R; sign = 1 gives it times |R|, for errors."""
    half = part.shape[-1] // 2
    first, last = part[..., :half], part[..., ::-1][..., :half]
    middle = part[..., half : part.shape[-1] - half]
    ends = (3.0 * last * sign + 4.0 * first) / 5.0
    return np.concatenate(
        [(3.0 * first + 4.0 * last) / 5.0, sign * middle, ends[..., ::-1]], axis=-1
    )


@clause(
    "symmetry/reciprocal-scaling-of-q-and-k",
    Level.MUST,
    "Queries times a power of two and keys divided by it give the same output, exactly.",
    families=PROJECTED_FAMILIES,
    needs={"projections"},
    counts=DIFFERENT_SCORES,
    after=("numerics/deterministic-in-eval",),
)
def reciprocal_scaling_of_queries_and_keys(case: Case) -> float:
    """Every product q_d k_d is the same number, so every score is, however it is summed and scaled.
    Queries and keys are made coarse, so that nothing underflows or overflows on the way; but where a
    turn by positions leaves small parts of them, float16 loses some of their digits.
    """
    once = on_grid(case)
    factor = 2.0 ** (POWER if case.seed % 2 else -POWER)
    w = once.weights
    assert w is not None  # the clause needs projections
    scaled = replace(once, weights=replace(w, query=w.query * factor, key=w.key / factor))
    short = case.subject.positions is not None and case.dtype == "float16"
    allowed = one_run(scaled) + one_run(once) if short else 0.0
    return near("the output before,", scaled.output, once.output, allowed, "batch token column")
