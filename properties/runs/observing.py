"""What was asked, as observations in Hypothesis's format: one for each clause and case.

https://hypothesis.readthedocs.io/en/latest/reference/integrations.html#observability
"""

from __future__ import annotations

from typing import Any

from properties.cases.case import Case
from properties.runs.result import Status
from properties.runs.tally import Outcome
from properties.spec.clause import Clause

Observation = dict[str, Any]
SHARE = "share of the bound"


def observation(
    clause: Clause, case: Case, outcome: Outcome, *, seconds: float, started: float, how: str
) -> Observation:
    """One clause on one case; started: of the run, in seconds since 1970."""
    status, reason = became(clause, outcome)
    return {
        "type": "test_case",
        "run_start": started,
        "property": f"{case.subject.name} {clause.id}",
        "status": status,
        "status_reason": reason,
        "representation": representation(case),
        "arguments": arguments(case),
        "how_generated": how,
        "features": features(case, outcome),
        "coverage": None,
        "timing": {"execute:test": seconds},
        "metadata": {
            "subject": case.subject.name,
            "clause": clause.id,
            "level": str(clause.level),
            "half": str(clause.half),
            "requirement": clause.requirement,
        },
    }


def became(clause: Clause, outcome: Outcome) -> tuple[str, str]:
    """passed, failed or gave_up, and why: an example that does not count tells nothing of the clause."""
    if outcome.outside:
        return "gave_up", "the subject cannot take it"
    if outcome.status is Status.PASS:
        return ("passed", "") if outcome.counted else ("gave_up", f"no {clause.counts.words}")
    return "failed", f"{outcome.status}: {outcome.message}"


def representation(case: Case) -> str:
    """The choices that make the case, on one line."""
    s = case.sizes
    sizes = f"B={s.batch} T={s.tokens} H={s.heads} G={s.key_heads} D={s.head_dim} d_in={s.d_in}"
    told = f"bias={case.bias} dropout={case.dropout} cut={case.cut} seed={case.seed}"
    return f"{sizes} context_length={s.context_length} {case.dtype} {case.about} {told}"


def arguments(case: Case) -> dict[str, Any]:
    """The choices by name. The numbers follow from the seed and are left out."""
    told = {"about": case.about, "dtype": case.dtype, "bias": case.bias, "dropout": case.dropout}
    return {**case.sizes.data(), **told, "cut": case.cut, "seed": case.seed}


def features(case: Case, outcome: Outcome) -> dict[str, Any]:
    """Names with numbers or words, as Tyche draws them."""
    s = case.sizes
    found: dict[str, Any] = {
        "family": case.subject.family,
        "traits": ", ".join(sorted(case.subject.offers)),
        "format": case.dtype,
        "kind": case.about,
        "tokens": s.tokens,
        "batch": s.batch,
        "heads": s.heads,
        "heads of keys": s.key_heads,
        "head_dim": s.head_dim,
        "d_in": s.d_in,
        "full context": s.tokens == s.context_length,
        "bias": case.bias,
    }
    return found if outcome.margin is None else {**found, SHARE: float(outcome.margin)}
