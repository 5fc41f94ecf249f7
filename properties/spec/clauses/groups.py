"""groups/: several heads of queries share one head of keys and values.

Head h reads group h // (H / G): the heads of a group lie side by side.
"""

from __future__ import annotations

import numpy as np

from properties.basics.assertions import near
from properties.cases.case import Case
from properties.cases.question import question, taken
from properties.spec.clause import Condition, Level, clause

READS = "groups/each-head-reads-its-own-group"
GROUPS = {"takes groups"}


def shared(case: Case) -> bool:
    """Whether there are fewer heads of keys than of queries, and more than one."""
    call = case.call
    return call is not None and call.shared > 1 and call.arrays["slopes"].size > call.shared


SHARED = Condition("several heads of queries for each of several heads of keys", shared)


@clause(
    READS,
    Level.MUST,
    "With H heads of queries and G of keys and values, head h reads number h // (H / G).",
    needs=GROUPS,
    counts=SHARED,
)
def each_head_reads_its_own(case: Case) -> float:
    """Heads that are taken in turn (h % G), or repeated along the tokens, read others."""
    return question(case).agrees()


@clause(
    "groups/equal-repeated-heads",
    Level.MUST,
    "Shared heads of keys and values are as the same heads written out for every query head.",
    needs=GROUPS,
    counts=SHARED,
)
def equal_repeated_heads(case: Case) -> float:
    """Two ways to ask the same. Each key-value head j is copied to heads j n to j n + n - 1."""
    shared_heads = question(case)
    n = case.call.shared if case.call else 1
    parts = {
        k: np.repeat(a, n, 1) if k in ("keys", "values") else a
        for k, a in shared_heads.inputs.items()
    }
    written_out = shared_heads.with_inputs(parts)
    return near(
        "shared heads to be as repeated ones, an output of",
        shared_heads.answer().output,
        written_out.answer().output,
        shared_heads.truth.allowed + written_out.truth.allowed,
        "batch query column",
    )


@clause(
    "groups/hide-as-ever",
    Level.MUST,
    "With shared heads the causal flag and a mask hide as without.",
    needs=GROUPS | {"hides by calls"},
    counts=SHARED,
    after=(READS,),
)
def hide_as_ever(case: Case) -> float:
    """A path of its own for groups must not forget what is hidden."""
    hiding = taken(case, "causal", "mask", "window")
    return max(question(case, role).agrees() for role in hiding)
