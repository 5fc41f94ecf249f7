"""A finding in lines: what it breaks, what was expected and came, the smallest case, a picture, and
the commands.
"""

from __future__ import annotations

import shlex
from typing import Any

from properties.reports import characters
from properties.reports.called import (
    about_a_call,
    call_arrays,
    call_sizes,
    context_size,
    roles,
    told_a_module,
)
from properties.reports.found import listed
from properties.reports.lines import (
    LABEL,
    arrays,
    filled,
    hanging,
    in_parts,
    number_line,
    printable,
    sizes_line,
)
from properties.runs.result import Finding, Report, Result
from properties.spec.clause import clauses

FEW = 4  # clauses that are named before the rest is counted
SECOND_INPUT = ("causality", "heads", "error", "gradient", "state")
"""Areas whose laws use the case's second input, `other`."""


def told(finding: Finding) -> list[tuple[str, str]]:
    """Where to look, what it breaks, what was required, expected and got."""
    clause = finding.clauses[0]
    said = [("look for", finding.look)] if finding.look else []
    if finding.name or finding.clauses[1:]:
        said.append(("breaks", ", ".join(finding.clauses)))
    said += in_parts(clauses()[clause].requirement, finding.message)
    if finding.likely:
        said.append(("likely", f"the same: {listed(finding.likely, FEW)}"))
    return said


def probe_told(result: Result) -> list[tuple[str, str]]:
    """What the clause made of its case to ask with, where that is something else."""
    if not result.probe:
        return []
    return [("asked", f"{sizes_line(result.probe['sizes'])}, {result.probe['dtype']}")]


def case_told(finding: Finding, result: Result) -> list[tuple[str, str]]:
    """The smallest case in a line, below the probe that was made from it."""
    case = finding.counterexample
    if case is None:
        return []
    clause = finding.clauses[0]
    if about_a_call(case, clause):
        seed = [f"seed {case['seed']}"] if case["seed"] else []
        return [("smallest", ", ".join([call_sizes(case, roles(clause)), case["dtype"], *seed]))]
    of = "made from " if result.probe else ""
    sizes = sizes_line(case["sizes"]) + context_size(case, roles(clause))
    smallest = ", ".join([sizes, *options(case, clause)])
    return [*probe_told(result), ("smallest", of + smallest)]


def options(case: dict[str, Any], clause: str) -> list[str]:
    """What a case has besides its sizes, as far as it matters to the clause."""
    found = [case["dtype"], "bias" if case["bias"] else "no bias"]
    if "dropout" in clauses()[clause].needs:
        found.append(f"p = {case['dropout']}")
    return found + ([f"seed {case['seed']}"] if case["seed"] else [])


def numbers(finding: Finding) -> list[str]:
    """The arrays of the smallest case, those of a law that has no second input without it."""
    case = finding.counterexample
    if case is None:
        return []
    if about_a_call(case, finding.clauses[0]):
        named = call_arrays(case, roles(finding.clauses[0]))
        return [number_line(name, array) for name, array in named.items()]
    area = finding.clauses[0].partition("/")[0]
    named = {
        name: array
        for name, array in arrays(case).items()
        if name != "other" or area in SECOND_INPUT
    }
    named |= told_a_module(case, roles(finding.clauses[0]))
    return [number_line(name, array) for name, array in named.items()]


def finding_lines(
    finding: Finding, result: Result, report: Report, width: int, parts: str = "numbers, picture"
) -> list[str]:
    """All of it below its title; result: of the clause that leads; parts: which of both it has."""
    lines = hanging(told(finding), width)
    lines += hanging(case_told(finding, result), width)
    if "numbers" in parts:
        lines += [" " * LABEL + line for line in filled(numbers(finding), width - LABEL)]
    if "picture" in parts and result.evidence:
        lines += characters.picture(result.evidence, width)
    lines.append(f"again     {repeat(result, report)}")
    lines += [f"explain   {explain(result)}"] * bool(parts)
    return list(map(printable, lines))


def repeat(result: Result, report: Report) -> str:
    """The command that finds the same failure again."""
    return command(report, result.clause)


def command(report: Report, *only: str) -> str:
    """The command that gives the same report, or only these clauses of it."""
    named = f" --only {' '.join(only or report.only)}" if only or report.only else ""
    asked = f"{named} --profile {report.profile} --seed {report.seed}"
    words = shlex.join([report.subject, *report.options])
    return f"attention-properties check {words}{asked}"


def explain(result: Result) -> str:
    """The command that prints the clause and its reason."""
    return f"attention-properties explain {result.clause}"
