"""What the laws about positions ask with, and how they read the answers.

Legend: B batch, T tokens, H heads, D head_dim.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from properties.basics.assertions import require
from properties.basics.dtypes import Array
from properties.basics.errors import OutsideError
from properties.cases.case import Case
from properties.cases.devices import as_projected, read_weights, wide_enough
from properties.cases.question import Question, question

STEEP = 4.0  # what scores at right angles would be, were they along each other


def general(
    case: Case, *, heads: int = 0, items: int = 0, tokens: int = 0
) -> tuple[Array, Array, Array]:
    """General queries and keys whose scaled scores are about one, and values, (B, H, T, D) each.

    heads, items, tokens: how many of them, those of the case unless given. D leaves room for one-hot
    tokens and values, so that no column has to be filled up with zeros: pairs would be zero in part.
    """
    s, g = case.sizes, np.random.default_rng(case.seed)
    tokens = tokens or s.tokens
    shape = (s.batch, s.heads, tokens, max(4, s.head_dim, tokens))
    head_dim = wide_enough(case, shape)
    shape = (items or s.batch, heads or s.heads, tokens, head_dim)
    alike = case.subject.has("one group")  # whose keys cannot differ between heads
    drawn = (shape[0], 1, *shape[2:]) if alike else shape
    queries, keys, values = (
        np.broadcast_to(g.integers(-8, 9, size=drawn) * 3.0 / 16.0, shape).copy() for _ in range(3)
    )
    return queries, keys, values


def long(part: Array) -> Array:
    """Rows (..., D) of a length with which two along each other have the scaled score STEEP."""
    length = np.linalg.norm(part, axis=-1, keepdims=True)
    wanted = np.sqrt(STEEP * np.sqrt(part.shape[-1]))
    return np.asarray(part / np.where(length > 0, length, 1.0) * wanted)


def with_zero_queries(probe: Case) -> Case:
    """The case in which every score is zero."""
    weights = probe.weights
    assert weights is not None  # the clauses need projections
    return replace(probe, weights=replace(weights, query=np.zeros_like(weights.query)))


def weights_shown(case: Case, queries: Array, keys: Array) -> Case:
    """The case whose projections give these queries and keys (B, H, T, D), the weights visible."""
    tokens, head_dim = queries.shape[-2:]
    one_hot = np.broadcast_to(np.eye(tokens, head_dim), queries.shape)
    return as_projected(case, queries, keys, one_hot)


def output_of(probe: Case) -> Array:
    """The output, of the shape that it should have: weights are read out of it."""
    found, shape = probe.output, probe.trace.output.shape
    require(found.shape == shape, f"an output {shape}", str(found.shape))
    return found


def log_odds(probe: Case) -> tuple[Array, Array]:
    """The logarithm of each weight over that of the first key, (B, H, T, T), and its error."""
    with np.errstate(all="ignore"):
        weights, allowed = (
            read_weights(probe, part) for part in (output_of(probe), probe.budget.output)
        )
        error = -np.log1p(-np.minimum(allowed / probe.trace.weights, 1.0))
        odds = np.log(weights / weights[..., :1])
    return odds, error + error[..., :1]


def shown(probe: Case, tokens: int, before: int) -> tuple[Array, Array, Array]:
    """Weights, allowed and right, of the last tokens for each other: values say where they stood."""
    s = probe.sizes

    def read(part: Array) -> Array:
        by_head = part.reshape(s.batch, s.tokens, s.heads, -1)[:, -tokens:]
        return np.moveaxis(by_head, 2, 1)[..., before : before + tokens]

    return read(output_of(probe)), read(probe.budget.output), read(probe.trace.output)


def own_odds(weights: Array, allowed: Array, right: Array) -> tuple[Array, Array]:
    """The logarithm of each weight over that of the query's own key, and its error."""
    with np.errstate(all="ignore"):
        error = -np.log1p(-np.minimum(allowed / right, 1.0))
        odds = np.log(weights)
    own = (np.diagonal(part, axis1=-2, axis2=-1)[..., None] for part in (odds, error))
    return odds - next(own), error + next(own)


def started_at(case: Case) -> int:
    """The position of the first token in another call, 1 to 5."""
    return question(case, "start").arguments.start or 1


def from_start(case: Case, start: int) -> Question:
    """The call whose first token stands there, in a module with room for it."""
    if case.subject.limits.full_context:
        raise OutsideError("a start, where there have to be as many tokens as the context is long")
    longer = replace(case.sizes, context_length=case.sizes.tokens + started_at(case))
    return question(replace(case, sizes=longer), start=start or None)
