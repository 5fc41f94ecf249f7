"""context/: what comes out is a mixture of the values, and nothing but that.

Legend: B batch, T tokens, H heads, D head_dim, W = H * D.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from properties.basics.assertions import near
from properties.basics.dtypes import Array
from properties.cases.budgets import one_run
from properties.cases.budgets.context import mixing, underflow
from properties.cases.case import Case
from properties.cases.devices import with_other_values
from properties.spec.clause import Level, clause
from properties.spec.clauses.conditions import SEVERAL_TOKENS, exact_inputs, seen
from properties.subjects.subject import PROJECTED_FAMILIES
from properties.truth.attend import repeated
from properties.truth.oracle import merge

FACTOR = -2.0  # a power of two, and a sign that no rectifier or absolute value lets through


def with_values(case: Case, factor: Array | float) -> Case:
    """The case whose output is its context, its values (B, H, T, D) multiplied by `factor`."""
    own = exact_inputs(case)
    return with_other_values(own, own.trace.values * factor)


@clause(
    "context/within-hull-of-visible-values",
    Level.MUST,
    "Every number of a context lies between the smallest and the largest of the values it mixes.",
    needs={"projections"},
    counts=SEVERAL_TOKENS,
    after=(
        "causality/future-does-not-change-past",
        "weights/rows-sum-to-one",
        "heads/split-equals-per-head-matmul",
        "heads/wrapper-concatenates-in-order",
    ),
)
def within_hull_of_visible_values(case: Case) -> float:
    """Weights that are not negative and sum to one give a convex combination, whatever the scores:
    the bound holds no error of a score, so it stays narrow where scores are large.
    """
    probe = exact_inputs(case)
    values = repeated(probe.trace.values, case.sizes.heads)[:, :, None]  # (B, H, 1, T, D)
    among = seen(probe)[:, :, None] > 0
    low = merge(np.where(among, values, np.inf).min(axis=-2))
    high = merge(np.where(among, values, -np.inf).max(axis=-2))
    allowed = mixing(probe, np.maximum(np.abs(low), np.abs(high)))
    nearest = np.clip(probe.output, low, high)
    return near("a mixture, at most", probe.output, nearest, allowed, "batch token column")


@clause(
    "context/constant-values-pass-through",
    Level.MUST,
    "Where all values are the same, every context is that value.",
    needs={"projections"},
    counts=SEVERAL_TOKENS,
    after=(
        "weights/rows-sum-to-one",
        "heads/split-equals-per-head-matmul",
        "heads/wrapper-concatenates-in-order",
    ),
)
def constant_values_pass_through(case: Case) -> float:
    """The weights sum to one. In the plain family equal values are equal tokens."""
    own = exact_inputs(case)
    first = np.broadcast_to(own.trace.values[:, :, :1], own.trace.values.shape)
    if case.subject.family == "plain":
        own = probe = replace(case, x=first[:, 0])
    else:
        probe = with_other_values(own, first)
    constant = merge(repeated(first, case.sizes.heads))
    allowed = mixing(own, np.abs(constant))  # the scores of `own` are those of the probe
    return near("the value", probe.output, constant, allowed, "batch token column")


@clause(
    "context/linear-in-values",
    Level.MUST,
    "The context is linear in the values: what two parts of them give adds up.",
    families=PROJECTED_FAMILIES,
    needs={"projections"},
    counts=SEVERAL_TOKENS,
    after=(
        "numerics/deterministic-in-eval",
        "weights/rows-sum-to-one",
        "causality/future-does-not-change-past",
    ),
)
def linear_in_values(case: Case) -> float:
    """The weights depend on queries and keys alone. The values of the tokens at even places and
    those at odd places, the others zero, give two contexts whose sum is the whole one.
    """
    even = (np.arange(case.sizes.tokens) % 2 == 0)[:, None]
    parts = [with_values(case, part.astype(np.float64)) for part in (even, ~even)]
    whole = exact_inputs(case)
    total = parts[0].output + parts[1].output
    allowed = 3.0 * one_run(whole)  # the parts' values are no larger than the whole's
    return near("the sum", whole.output, total, allowed, "batch token column")


@clause(
    "context/scaling-values-scales-the-context",
    Level.MUST,
    "Values times a power of two give contexts times that power, exactly.",
    families=PROJECTED_FAMILIES,
    needs={"projections"},
    counts=SEVERAL_TOKENS,
    after=("numerics/deterministic-in-eval",),
)
def scaling_values_scales_the_context(case: Case) -> float:
    """A factor of minus two changes no significand, so every product and sum of the mixture rounds
    as it did before. Only what underflows may differ.
    """
    once, scaled = exact_inputs(case), with_values(case, FACTOR)
    allowed = underflow(once)
    return near("minus twice", scaled.output, FACTOR * once.output, allowed, "batch token column")
