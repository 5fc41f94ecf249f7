"""groups/: several heads of queries share one head of keys and values.

Head h reads group h // (H / G): the heads of a group lie side by side. A function is asked by a call;
of a module the weights of the heads of keys and values are exchanged, copied or negated.

Legend: H heads of queries, G heads of keys and values, D head_dim.
"""

from __future__ import annotations

import numpy as np

from properties.basics.assertions import near, require
from properties.basics.dtypes import Array
from properties.cases import groups
from properties.cases.agreement import same_output
from properties.cases.budgets import difference
from properties.cases.case import Case, parameters
from properties.cases.question import question, taken
from properties.spec.clause import Condition, Level, clause
from properties.spec.clauses.conditions import before_the_end, with_identity_out
from properties.truth.parameters import Sizes

READS = "groups/each-head-reads-its-own-group"
REPEATED = "groups/equal-repeated-heads"
CHOSEN = {"number of groups"}
AXES = "batch token column"


def shared(case: Case) -> bool:
    """Whether there are fewer heads of keys than of queries, and more than one."""
    if not case.subject.bare:
        return case.sizes.shared > 1 and (case.sizes.key_heads > 1 or case.subject.has("one group"))
    call = case.call
    return call is not None and call.shared > 1 and call.arrays["slopes"].size > call.shared


def several(case: Case) -> bool:
    """Whether there are several heads of keys and values."""
    if not case.subject.bare:
        return case.sizes.key_heads > 1
    return case.call is not None and case.call.arrays["keys"].shape[1] > 1


SHARED = Condition("several heads of queries for each of several heads of keys", shared)
SEVERAL = Condition("several heads of keys and values", several)


@clause(
    READS,
    Level.MUST,
    "With H heads of queries and G of keys and values, head h reads number h // (H / G).",
    needs={"shared heads", "projections"},
    counts=SHARED,
)
def each_head_reads_its_own(case: Case) -> float:
    """Heads that are taken in turn (h % G), or all from the first group, read others. Of a module one
    head of keys, then of values, gets the other sign: the columns of the heads of its group change,
    the others do not.
    """
    if case.subject.bare:
        return question(case).agrees()
    group = case.seed % case.sizes.key_heads
    return max(reaches_its_own(case, group, role) for role in ("key", "value"))


def reaches_its_own(case: Case, group: int, role: str) -> float:
    """The sign of one head of keys or values shows in the heads of its group, and in no other."""
    probe = with_identity_out(case)
    other = groups.with_head_negated(probe, group, role)
    own = slice(group * case.sizes.shared, (group + 1) * case.sizes.shared)
    before, after, margin, true, claimed = (
        by_head(part, case.sizes)
        for part in (
            probe.output,
            other.output,
            difference(probe),
            np.abs(other.trace.output - probe.trace.output),
            probe.budget.output + other.budget.output,
        )
    )
    for head in range(case.sizes.heads)[own]:
        clear = true[head] > 2.0 * claimed[head]
        moved = np.abs(after[head] - before[head]) > claimed[head]
        require(
            bool((clear & moved).any() or not clear.any()),
            f"another output of head {head} once the {role}s of group {group} are negated",
            "the same output",
        )
    actual, expected, allowed = (
        np.delete(part, np.arange(case.sizes.heads)[own], axis=0)
        for part in (after, before, margin)
    )
    what = (
        f"once the {role}s of group {group} are negated, in the heads of other groups an unchanged"
    )
    return near(what, actual, expected, allowed, "head batch token column")


def by_head(array: Array, sizes: Sizes) -> Array:
    """(B, T, H * D) -> (H, B, T, D)."""
    return np.moveaxis(array.reshape(*array.shape[:-1], sizes.heads, sizes.head_dim), -2, 0)


@clause(
    REPEATED,
    Level.MUST,
    "Shared heads of keys and values are as the same heads written out for every query head.",
    needs=CHOSEN | {"projections"},
    counts=SHARED,
)
def equal_repeated_heads(case: Case) -> float:
    """Two ways to ask the same. Each key-value head j is copied to heads j n to j n + n - 1."""
    if not case.subject.bare:
        every = groups.written_out(case)
        allowed = case.budget.output + every.budget.output
        return near("shared heads to be as copied ones,", case.output, every.output, allowed, AXES)
    shared_heads = question(case)
    n = case.call.shared if case.call else 1
    parts = {
        k: np.repeat(a, n, 1) if k in ("keys", "values") else a
        for k, a in shared_heads.inputs.items()
    }
    written_out = shared_heads.with_inputs(parts)
    return same_output("shared heads to be as repeated ones,", shared_heads, written_out)


@clause(
    "groups/equal-heads-are-one",
    Level.MUST,
    "Heads of keys and values that are all the same are as one of them alone, with G = 1.",
    needs=CHOSEN | {"projections"},
    counts=SEVERAL,
)
def equal_heads_are_one(case: Case) -> float:
    """From any G, also from G = H: one group for all heads is often a branch of its own."""
    return of_calls(case) if case.subject.bare else of_modules(case)


def of_modules(case: Case) -> float:
    """A module with equal weights in all heads, and one with a single head."""
    equal, one = groups.with_equal_heads(case), groups.with_one_group(case)
    allowed = equal.budget.output + one.budget.output
    return near("of one group", one.output, equal.output, allowed, AXES)


def of_calls(case: Case) -> float:
    """Equal keys and values in all heads, and in a single one."""
    asked = question(case)
    times = asked.inputs["keys"].shape[1]
    one = asked.mapped(lambda part, _: part[:, :1])
    equal = one.mapped(lambda part, _: np.repeat(part, times, axis=1))
    return same_output("of one group", one, equal)


@clause(
    "groups/weights-get-the-gradients-of-all-their-heads",
    Level.MUST,
    "The weights of a head of keys and values get the sum of the gradients that copies of them for "
    "every query head get.",
    needs={"groups", "projections", "gradients"},
    counts=SHARED,
    after=(REPEATED,),
)
def weights_learn_from_all(case: Case) -> float:
    """Not the mean, and not what the first or the last head of a group sends back."""
    every = groups.written_out(case)
    found, copied = (
        parameters(c.subject.collect(c.build().gradients(c.x, case.upstream), c.config()))
        for c in (case, every)
    )
    expected = groups.summed_over_groups(copied, case)
    allowed = groups.summed_over_groups(parameters(every.gradient_budget.parameters), case)
    own = parameters(case.gradient_budget.parameters)
    return max(
        near(
            f"for the weights {name} the sum of what copies get,",
            array,
            expected[name],
            allowed[name] + own[name],
            "row column" if array.ndim == 2 else "column",
        )
        for name, array in found.items()
    )


@clause(
    "groups/hide-as-ever",
    Level.MUST,
    "With shared heads what is hidden stays hidden: the future, and what a mask hides.",
    needs={"shared heads", "hides"},
    counts=SHARED,
    after=(READS,),
)
def hide_as_ever(case: Case) -> float:
    """A path of its own for groups must not forget it. The future of a module is exchanged: nothing
    before it may change.
    """
    asked = [question(case, role).agrees() for role in taken(case, "causal", "mask", "window")]
    if not case.subject.bare and case.causal:
        asked.append(future_exchanged(case))
    return max(asked)


def future_exchanged(case: Case) -> float:
    """What comes up to a token is the same with other tokens after it."""
    cut = before_the_end(case) + 1
    x = case.x.copy()
    x[:, cut:] = case.other[:, cut:]
    before, after, allowed = (
        part[:, :cut] for part in (case.output, case.run(x), difference(case))
    )
    return near("with another future an unchanged", after, before, allowed, AXES)
