"""error/: a number of heads that the heads of keys and values of a module do not divide.

Legend: H heads of queries, G heads of keys and values.
"""

from __future__ import annotations

from dataclasses import replace

from properties.basics.assertions import require
from properties.cases.case import Case
from properties.spec.clause import Half, Level, clause
from properties.spec.clauses.error import of_width
from properties.subjects.instance import Instance
from properties.truth.parameters import Sizes


@clause(
    "error/indivisible-key-value-heads",
    Level.MUST,
    "A number of heads that the heads of keys and values do not divide is refused, at construction or "
    "by the first call.",
    needs={"groups"},
    half=Half.GUARDED,
    brief="heads that the groups do not divide",
    examples=8,
)
def indivisible_key_value_heads(case: Case) -> None:
    """Some head has no group then, or some group no head: no output is right."""
    sizes = indivisible(case)
    require(
        not answers(case, sizes),
        f"{sizes.heads} heads refused with {sizes.key_heads} heads of keys and values",
        "an output",
    )


def indivisible(case: Case) -> Sizes:
    """Two heads of keys and values or more, and one head of queries too many for them."""
    key_heads = max(2, case.sizes.key_heads)
    sizes = replace(case.sizes, heads=2 * key_heads + 1, groups=key_heads)
    return sizes if case.subject.has("rectangular") else replace(sizes, d_in=sizes.width)


def answers(case: Case, sizes: Sizes) -> bool:
    """Whether such a module is built, with the weights it begins with, and gives an output."""
    try:
        module = case.subject.build(replace(case.config(), sizes=sizes), None)
    except Exception:  # being refused is what is asked for
        return False
    instance = Instance(module, case.dtype, batched=case.subject.has("batched"))
    return instance.refusal(of_width(case, sizes.d_in)) is None
