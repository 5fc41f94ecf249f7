"""What is wrong where a call says at which position its first token stands, by name.

Legend: B batch, T tokens.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from properties.cases.case import Case
from properties.findings.names.probes import probe
from properties.spec.clauses.position_probes import from_start, started_at
from properties.truth import bounds, oracle

LAW = "position/start-changes-nothing"
LOOK = "where an offset is added to the positions of queries and keys"


def of_one(queries: bool) -> Callable[[Case], bool]:
    """Whether the output is that of queries (or keys) which start later, and keys (queries) which do
    not, and not the right one.
    """

    def asks(case: Case) -> bool:
        positions = case.subject.positions
        if positions is None or case.weights is None or "start" not in case.subject.takes:
            return False
        start = started_at(case)
        places = np.arange(float(case.sizes.tokens))
        asked = from_start(case, start)
        moved = positions.at(places + start * queries, places + start * (not queries))
        trace = oracle.attention(
            case.x, case.weights, heads=case.sizes.heads, causal=case.causal, positions=moved
        )
        given = (case.x, case.weights, trace, case.dtype)
        allowed = bounds.budget(*given, angles=case.angles).output
        found, right = asked.answer().output, asked.truth
        wrong = bool((np.abs(found - right.output) > right.allowed).any())
        return wrong and bool((np.abs(found - trace.output) <= allowed).all())

    return asks


STARTS = {"start of queries alone": of_one(True), "start of keys alone": of_one(False)}
for called, asks in STARTS.items():
    probe(called, LOOK, frozenset({LAW}))(asks)
