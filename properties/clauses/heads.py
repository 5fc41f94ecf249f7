"""heads/: heads work side by side, each on its own columns, and never mix."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from properties.assertions import near, require
from properties.case import Case, take_weights
from properties.clauses.conditions import SEVERAL_HEADS
from properties.devices import pad, with_queries_keys_values
from properties.dtypes import FORMATS
from properties.spec import Condition, Level, clause

TWO_HEADS = Condition("at least two heads", lambda case: case.sizes.heads > 1)


@clause(
    "heads/split-equals-per-head-matmul",
    Level.MUST,
    "Splitting the width into H heads gives each head what attention on its columns alone gives.",
    families={"multihead"},
    needs={"projections"},
    counts=SEVERAL_HEADS,
)
def split_equals_per_head_matmul(case: Case) -> float:
    """The subject with H heads against the same subject with one head, fed with the queries, keys
    and values of each head in turn. No oracle: a fault shared by both (a missing mask, say) is
    another clause's; a view without a transpose, or a width taken for head_dim, shows here.
    """
    together = exact_inputs(case)
    columns = []
    budgets = []
    for head in range(case.sizes.heads):
        alone = one_head(together, head)
        columns.append(alone.output[..., : together.sizes.head_dim])
        budgets.append(alone.budget.output[..., : together.sizes.head_dim])
    expected, allowed = (np.concatenate(parts, axis=-1) for parts in (columns, budgets))
    return near(
        "the per-head result",
        together.output,
        expected,
        together.budget.output + allowed,
        "batch token column",
    )


def exact_inputs(case: Case) -> Case:
    """The case whose queries, keys and values are this case's own, rounded to its dtype.

    head_dim is made B * T where the input is as wide as the output, so that one head alone
    still takes a one-hot token for each of them.
    """
    fmt, t = FORMATS[case.dtype], case.trace
    room = 0 if case.subject.has("rectangular") else case.sizes.batch * case.sizes.tokens
    return with_queries_keys_values(
        case, *(pad(fmt.round(part), room) for part in (t.queries, t.keys, t.values))
    )


def one_head(case: Case, head: int) -> Case:
    """The same queries, keys and values of one head in a module with that head alone."""
    t = case.trace
    chosen = slice(head, head + 1)
    single = replace(case, sizes=replace(case.sizes, heads=1))
    return with_queries_keys_values(
        single, t.queries[:, chosen], t.keys[:, chosen], t.values[:, chosen]
    )


@clause(
    "heads/wrapper-width",
    Level.MUST,
    "The wrapper's output is d_out * H wide.",
    families={"wrapper"},
    counts=TWO_HEADS,
    after=(),
)
def wrapper_width(case: Case) -> None:
    """Every head keeps its d_out columns; concatenating H of them multiplies the width."""
    width = case.output.shape[-1]
    expected = case.sizes.head_dim * case.sizes.heads
    require(
        width == expected,
        f"{case.sizes.head_dim} columns for each of {case.sizes.heads} heads: {expected}",
        str(width),
    )


@clause(
    "heads/wrapper-concatenates-in-order",
    Level.MUST,
    "Columns h * d_out to (h + 1) * d_out of the wrapper's output are those of head h.",
    families={"wrapper"},
    needs={"projections"},
    counts=SEVERAL_HEADS,
)
def wrapper_concatenates_in_order(case: Case) -> float:
    """The wrapper with H heads against the wrapper with head h alone, on the same input."""
    s = case.sizes
    worst = 0.0
    for head in range(s.heads):
        columns = range(head * s.head_dim, (head + 1) * s.head_dim)
        alone = replace(
            case,
            sizes=replace(s, heads=1),
            weights=take_weights(case.weights, range(s.d_in), columns),
        )
        block = slice(columns.start, columns.stop)
        allowed = case.budget.output[..., block] + alone.budget.output
        share = near(
            f"head {head} alone:",
            case.output[..., block],
            alone.output,
            allowed,
            "batch token column",
        )
        worst = max(worst, share)
    return worst
