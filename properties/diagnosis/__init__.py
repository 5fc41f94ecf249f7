"""A failure's name: the wrong formula that a subject's output agrees with, if there is one.

`catalogue` holds the wrong formulas, `match` holds them against the subject, `habits` and `dropout`
do the same for what goes wrong in training, and `standin` says which laws each of them breaks. What
is claimed is true of every example tried; where nothing fits, nothing is claimed.
"""

from __future__ import annotations

from properties.case import Case
from properties.diagnosis.standin import chance, names
from properties.spec import clauses

NOT_A_FORMULA = frozenset({"error", "state", "transform"})
"""Areas whose laws a module may break whatever its formula is."""


def behaves_like(clause: str, case: Case) -> list[str]:
    """The wrong formulas that explain why a case fails a clause, each with where to look."""
    if clause not in clauses() or (
        clause.partition("/")[0] in NOT_A_FORMULA and not chance(clause)
    ):
        return []
    return names(clause, case)
