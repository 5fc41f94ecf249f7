"""The verdict in a sentence, its two halves apart, and the word for what became of a clause."""

from __future__ import annotations

from collections import Counter

from properties.reports.found import called, listed, main
from properties.runs.result import Report, Result, Status
from properties.spec.clause import clauses

NAMED = 3  # findings, or arguments, that the first line names
WORDS = {Status.UNSUPPORTED: "not asked", Status.BLOCKED: "waits"}
"""Statuses that a reader has another word for."""


def word(result: Result) -> str:
    """What became of a clause: only what the first half asks for and is not so is called a failure."""
    if result.status is Status.FAIL:
        if result.level != "MUST":
            return "not met"
        return {"guarded": "unguarded", "edge": "edge"}.get(result.half, "fail")
    return WORDS.get(result.status, str(result.status))


def verdict(report: Report) -> tuple[str, str]:
    """The verdict in words, and its style: first whether it is right, then what is not refused."""
    words, style = first_half(report)
    said = [words, *rest(report)]
    if report.right and report.exit_code:
        said, style = [*said, "not enough for --strict"], "bold red"
    return "; ".join(said), style


def first_half(report: Report) -> tuple[str, str]:
    """Whether attention is computed as it should be."""
    if not report.results:
        return "no verdict: it could not be asked", "bold yellow"
    counts = Counter(r.status for r in report.results if r.level == "MUST" and r.half == "right")
    asked = f"{counts[Status.PASS]} of {counts.total()} laws hold"
    if counts[Status.WAIVED]:
        asked += f", {len(report.waived)} waived"
    if dependents := counts[Status.WAIVED] - len(report.waived):
        asked += f", {dependents} not asked because of that"
    if not report.right:
        if waiting := counts[Status.BLOCKED]:
            causes = len(main(report)) + sum(r.status is Status.ERROR for r in report.results)
            cause = "it" if causes == 1 else "them"
            asked += f", {waiting} wait{'s' * (waiting == 1)} for {cause}"
        answer = "not right" if report.wrong else "no verdict"
        return f"{answer}: {broken(report)}; {asked}", "bold red" if report.wrong else "bold yellow"
    if report.in_part:
        words = f"right in part{with_waivers(report)}: "
        if report.unasked:
            words += f"nothing was asked of {listed(list(report.unasked), NAMED)}; "
        words += asked
        if counts[Status.UNSUPPORTED]:
            words += f", {counts[Status.UNSUPPORTED]} could not be asked"
        return words, "bold yellow"
    style = "bold yellow" if report.waived else "bold green"
    return f"right{with_waivers(report)}: {asked}", style


def broken(report: Report) -> str:
    """What stands against the first half: findings, or clauses without a verdict."""
    found = main(report)
    names = [called(finding) for finding in found[:NAMED]] + ["..."] * (len(found) > NAMED)
    said = [f"{plural(len(found), 'finding')} ({', '.join(names)})"] if found else []
    vacuous = len(report.with_status(Status.VACUOUS, half="right"))
    errors = sum(r.status is Status.ERROR and r.half == "right" for r in report.results)
    said += [f"{vacuous} vacuous"] * bool(vacuous) + [plural(errors, "error")] * bool(errors)
    return ", ".join(said) or ("all that was asked is waived" if report.waived else nothing(report))


def nothing(report: Report) -> str:
    """Why a report in which nothing is broken is not right all the same."""
    elsewhere = sum(r.status is Status.ERROR for r in report.results)
    return plural(elsewhere, "error") if elsewhere else "no law was asked"


def rest(report: Report) -> list[str]:
    """What bad input is not refused, or could not be tried, and which edge is wrong."""
    unguarded, edges = (
        [clauses()[r.clause].brief for r in part] for part in (report.unguarded, report.edges)
    )
    found = [f"unguarded: {len(unguarded)} ({', '.join(unguarded)})"] if unguarded else []
    untried = sum(r.half == "guarded" for r in report.unsupported)
    found += [f"bad input: {plural(untried, 'law')} could not be asked"] * bool(untried)
    return [*found, *(f"edge: {brief}" for brief in dict.fromkeys(edges))]


def with_waivers(report: Report) -> str:
    """How many accepted failures a verdict rests on."""
    count = len(report.waived)
    return f" with {plural(count, 'waiver')}" if count else ""


def plural(count: int, noun: str) -> str:
    """A number of things: 1 finding, 2 findings."""
    return f"{count} {noun}{'s' * (count != 1)}"
