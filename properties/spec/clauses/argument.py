"""argument/: what the constructor takes has the effect that its name promises.

An argument that is accepted and ignored is a claim that does not hold. That of context_length is
looked at by error/too-many-tokens and error/too-many-tokens-raise: a module may well take more
tokens than it was told, so long as it attends to them rightly.

Legend: B batch, T tokens, H heads, D head_dim, W = H * D.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np

from properties.basics.assertions import require
from properties.basics.dtypes import Array
from properties.cases.case import Case
from properties.cases.devices import with_queries_keys_values
from properties.cases.groups import written_out
from properties.spec.clause import Condition, Level, clause
from properties.spec.clauses.conditions import ALIVE, equal_scores, without_out_bias
from properties.spec.clauses.projection import projections
from properties.subjects.instance import Instance
from properties.subjects.subject import HEADED_FAMILIES, PROJECTED_FAMILIES

FEW = 12  # examples are enough: an argument that is ignored is ignored every time
NEARLY_ALL = 0.999  # a dropout under which a single weight survives five draws once in 10**15
DRAWS = 5


@lru_cache(maxsize=ALIVE)
def opposite_heads(case: Case) -> Case:
    """Two tokens of which the even heads look at the later one, the odd heads at the earlier one.

    The output holds the attention weights.
    """
    heads, key_heads = case.sizes.heads, case.sizes.key_heads
    signs = np.where(np.arange(heads) % 2, -1.0, 1.0).reshape(1, heads, 1, 1)
    later = np.array([0.0, 1.0]).reshape(1, 1, 2, 1)
    keys, values = (np.broadcast_to(p, (1, key_heads, 2, p.shape[-1])) for p in (later, np.eye(2)))
    queries = np.broadcast_to(4.0 * signs, (1, heads, 2, 1))
    return with_queries_keys_values(case, queries, keys, values)


@lru_cache(maxsize=ALIVE)
def as_one_head(case: Case) -> Case:
    """The case with the same matrices in a module of one head, as wide as all of them."""
    every = written_out(case)
    return replace(every, sizes=replace(every.sizes, heads=1, head_dim=case.sizes.width))


def heads_matter(case: Case) -> bool:
    """Whether several heads and one are further apart than any rounding of either could hide."""
    if case.sizes.heads == 1:
        return False
    probe = opposite_heads(case)
    one = as_one_head(probe)
    return apart(probe, one, np.abs(probe.trace.output - one.trace.output) / 2.0)


def apart(first: Case, second: Case, gap: Array) -> bool:
    """Whether `gap` exceeds both budgets somewhere."""
    return bool(np.any(gap > first.budget.output + second.budget.output))


@clause(
    "argument/num-heads-has-effect",
    Level.MUST,
    "The number of heads changes what the same matrices compute.",
    families=HEADED_FAMILIES,
    needs={"projections", "finer than bfloat16"},
    counts=Condition("two heads or more, in a format that tells them from one", heads_matter),
    after=("weights/rows-sum-to-one",),
    examples=FEW,
)
def num_heads_has_effect(case: Case) -> None:
    """Half of the heads look at one token, half at the other. One head as wide as all of them would
    look at both alike. Where the right outputs of both are further apart than twice their budgets,
    the subject's must be further apart than these. A subject that is wrong with one head, too, has
    another fault than an argument without effect.
    """
    if heads_matter(case):
        probe = opposite_heads(case)
        one = as_one_head(probe)
        right = bool(np.all(np.abs(one.output - one.trace.output) <= one.budget.output))
        expected = f"another output of {case.sizes.heads} heads than of one"
        same = not apart(probe, one, np.abs(probe.output - one.output))
        require(not (right and same), expected, "the same")


@clause(
    "argument/dropout-has-effect",
    Level.MUST,
    "In training the dropout probability drops weights.",
    needs={"projections", "dropout", "module"},
    after=("dropout/keeps-the-shape",),
    examples=FEW,
)
def dropout_has_effect(case: Case) -> None:
    """All scores are equal and the weights visible, so that a dropped one shows in any dtype. Five
    draws that all keep the only weight though p is 0.999 have a probability of 1e-15.
    """
    probe = equal_scores(case)
    require_dropped(probe, probe.build(dropout=NEARLY_ALL))


def require_dropped(probe: Case, instance: Instance) -> None:
    """In one of a few draws in training a weight of `equal_scores` is gone."""
    draws = (
        instance.run(probe.x, training=True, seed=seed)
        for seed in range(probe.seed, probe.seed + DRAWS)
    )
    dropped = any(np.any(abs(draw) < 0.5 * abs(probe.output)) for draw in draws)
    require(dropped, f"dropped weights in training at p = {NEARLY_ALL}", "none")


@clause(
    "argument/qkv-bias-has-effect",
    Level.MUST,
    "With qkv_bias the values have a bias that reaches the output.",
    families=PROJECTED_FAMILIES,
    needs={"projections", "qkv-bias"},
    after=("weights/rows-sum-to-one",),
    examples=FEW,
)
def qkv_bias_has_effect(case: Case) -> None:
    """Every weight of a row goes to the same bias of 1, so with values that are zero, and the
    identity as output projection, the output is 1 with the bias and 0 without. Whether it is just 1
    is another clause's question.
    """
    probe = only_a_bias(case)
    require(bool(np.any(probe.output)), "an output of 1, the bias of the values", "0")


def only_a_bias(case: Case) -> Case:
    """The case with value bias 1, all other parameters zero but the identity at the end."""
    w, width = without_out_bias(projections(case)), case.sizes.width
    vector, narrow = np.zeros(width), np.zeros(case.sizes.key_width)
    weights = replace(
        w,
        query=np.zeros_like(w.query),
        key=np.zeros_like(w.key),
        value=np.zeros_like(w.value),
        query_bias=vector,
        key_bias=narrow,
        value_bias=np.ones_like(narrow),
        out=None if w.out is None else np.eye(width),
    )
    return replace(case, bias=True, weights=weights)
