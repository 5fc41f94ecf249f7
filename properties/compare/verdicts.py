"""The suite's verdicts on both sides: the clauses that the old one holds and the new one breaks."""

from __future__ import annotations

from operator import itemgetter

from properties.compare.outcome import Change
from properties.compare.results import Pair
from properties.runs.result import Finding, Report, Result, Status
from properties.subjects.subject import CAPABILITIES

# What an adapter sees rather than what is there, and formats, which are told by name.
ELSEWHERE = frozenset({"projections", "out-projection", "float64", "half-precision"})


def compare_verdicts(old: Report, new: Report) -> tuple[list[Change], list[str]]:
    """MUST and SHOULD clauses that held and do not any more; what MAY be, and what got better, is
    a note.
    """
    before = {result.clause: result for result in old.results}
    gone, notes = [], []
    for result in new.results:
        earlier = before.get(result.clause)
        if earlier is None or earlier.status is result.status:
            continue
        if earlier.status is Status.PASS and result.status in (Status.FAIL, Status.ERROR):
            if result.level == "MAY":
                notes.append(f"{result.clause} (MAY) held, and does not now")
            else:
                gone.append(result)
        elif earlier.status is Status.FAIL and result.status is Status.PASS:
            notes.append(f"{result.clause} did not hold, and does now")
        elif result.status is Status.VACUOUS:
            notes.append(f"{result.clause}: too few of the new side's examples count to say")
    formula = before.get("oracle/output-within-bound")
    if formula is not None and formula.status in (Status.FAIL, Status.BLOCKED):
        notes.append(
            "the old side does not compute the formula itself, and what rounding may do is computed "
            "for the formula: `attention-properties check` says how it differs"
        )
    return by_cause(gone, new.findings), notes


def by_cause(gone: list[Result], findings: list[Finding]) -> list[Change]:
    """The clauses that do not hold any more, those of one finding as one change."""
    causes = [(f.name, [*f.clauses, *f.likely]) for f in findings]
    told = {clause for _, clauses in causes for clause in clauses}
    causes += [("", [result.clause]) for result in gone if result.clause not in told]
    found = {result.clause: result for result in gone}
    together = ((name, [found[c] for c in clauses if c in found]) for name, clauses in causes)
    return [broken(first, name, also) for name, (first, *also) in filter(itemgetter(1), together)]


def broken(result: Result, name: str, also: list[Result]) -> Change:
    """A clause that does not hold any more, and others for the same reason."""
    return Change(
        "clause",
        result.clause,
        "it held",
        result.message,
        result.clause,
        result.counterexample,
        name,
        [other.clause for other in also],
    )


def compare_interfaces(pair: Pair) -> list[Change]:
    """What a constructor or a forward took and does not take any more, and formats that are lost."""
    lost = pair.old.offers - pair.new.offers - ELSEWHERE
    if {"always-biased", "qkv-bias"} & pair.new.offers:
        lost -= {"always-biased"}  # it may still be
    named = sorted(lost & CAPABILITIES.keys())  # the others follow from what is told by itself
    changes = [
        Change("interface", CAPABILITIES[name], "yes", f"no: {reason(pair, name)}")
        for name in named
    ]
    gone = [d for d in pair.old.dtypes if d not in pair.new.dtypes]
    if gone:
        what = "formats in which it runs"
        changes.append(
            Change("interface", what, ", ".join(pair.old.dtypes), ", ".join(pair.new.dtypes))
        )
    return changes


def reason(pair: Pair, capability: str) -> str:
    """Why the new side does not offer something, in a line."""
    lines = pair.new.lacking.get(capability, "it is not offered").splitlines()
    return lines[0] if lines else "it is not offered"
