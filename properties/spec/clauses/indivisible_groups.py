"""error/: a number of heads that the heads of keys and values of a module do not divide.

Legend: H heads of queries, G heads of keys and values.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from properties.basics.assertions import require
from properties.cases.case import Case
from properties.spec.clause import Half, Level, clause
from properties.subjects.instance import Instance


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
    key_heads = max(2, case.sizes.key_heads)
    heads = 2 * key_heads + 1
    require(
        not answers(case, heads, key_heads),
        f"{heads} heads refused with {key_heads} heads of keys and values",
        "an output",
    )


def answers(case: Case, heads: int, key_heads: int) -> bool:
    """Whether such a module is built, with the weights it begins with, and gives an output."""
    sizes = replace(case.sizes, heads=heads, groups=key_heads)
    if not case.subject.has("rectangular"):
        sizes = replace(sizes, d_in=sizes.width)
    try:
        module = case.subject.build(replace(case.config(), sizes=sizes), None)
    except Exception:  # being refused is what is asked for
        return False
    instance = Instance(module, case.dtype, batched=case.subject.has("batched"))
    x = np.resize(case.x, (*case.x.shape[:-1], sizes.d_in))
    return instance.refusal(x if instance.batched else x[0]) is None
