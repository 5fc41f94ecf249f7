"""A report as text: the verdict first, then root failures, then a line for every clause."""

from __future__ import annotations

from typing import Any

import numpy as np
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from properties.result import Report, Result, Status
from properties.spec import area_rank, clauses

STYLES = {
    Status.PASS: "green",
    Status.FAIL: "bold red",
    Status.ERROR: "bold red",
    Status.VACUOUS: "yellow",
    Status.UNSUPPORTED: "yellow",
    Status.BLOCKED: "dim",
    Status.WAIVED: "yellow",
}

INDENT = (0, 0, 0, 2)


def show(report: Report, console: Console) -> None:
    """Print the whole report."""
    console.print(headline(report))
    for line in (*unsupported_lines(report), *provenance(report)):
        console.print(Padding(Text(line, style="dim"), INDENT))
    for result in report.results:
        if result.status is Status.ERROR or (
            result.status is Status.FAIL and result.level == "MUST"
        ):
            title, *rest = failure_lines(result, report)
            console.print(Text(f"\n{title}", style=STYLES[result.status]))
            for line in rest:
                console.print(Text(f"  {line}"), soft_wrap=True)  # to be copied whole
    console.print()
    console.print(clause_table(report))
    blocked = [r.clause for r in report.results if r.status is Status.BLOCKED]
    if blocked:
        text = f"blocked by what does not hold: {', '.join(blocked)}"
        console.print(Padding(Text(text, style="dim"), INDENT))


def headline(report: Report) -> Text:
    """The verdict, first thing: whether it conforms, and what was not asked."""
    musts = [r for r in report.results if r.level == "MUST"]
    passed = sum(r.status is Status.PASS for r in musts)
    asked = f"{passed} of {len(musts)} MUST clauses hold"
    if not report.conforms:
        counts = {
            status: sum(r.status is status for r in musts)
            for status in (Status.FAIL, Status.VACUOUS, Status.ERROR, Status.BLOCKED)
        }
        broken = ", ".join(f"{n} {status}" for status, n in counts.items() if n)
        verdict, style = (
            f"does not conform: {broken or 'no MUST clause was asked'}; {asked}",
            "bold red",
        )
    elif report.unsupported:
        count = len(report.unsupported)
        verdict, style = f"conforms in part: {asked}, {count} could not be asked", "bold yellow"
    else:
        verdict, style = f"conforms: {asked}", "bold green"
    return Text.assemble(
        (report.subject, "bold"), f" ({report.family}) ", (verdict, style), overflow="fold"
    )


def unsupported_lines(report: Report) -> list[str]:
    """What could not be asked, a line for each reason."""
    reasons: dict[str, list[str]] = {}
    for result in report.unsupported:
        reasons.setdefault(result.message, []).append(result.clause)
    return [f"not asked: {', '.join(ids)}; {reason}" for reason, ids in reasons.items()]


def provenance(report: Report) -> list[str]:
    """What it takes to see the same again, and how the subject was understood."""
    known = ", ".join(f"{name} {version}" for name, version in report.versions.items())
    lines = [
        f"profile {report.profile}, seed {report.seed}, {report.seconds:.1f} s; "
        f"{', '.join(report.dtypes)}",
        known,
    ]
    renamed = [f"{ours} is {theirs}" for ours, theirs in report.matched.items() if ours != theirs]
    if renamed:
        lines.append(f"matched: {', '.join(renamed)}")
    absent = [f"{name} ({reason.splitlines()[0]})" for name, reason in report.lacking.items()]
    if absent:
        lines.append(f"lacking: {', '.join(absent)}")
    return lines + [f"note: {note}" for note in report.notes]


def failure_lines(result: Result, report: Report) -> list[str]:
    """Requirement, expected and actual, the smallest case and the command that repeats it."""
    lines = [
        f"{result.status.upper()} {result.clause}  {result.level}",
        f"requires  {clauses()[result.clause].requirement}",
    ]
    expected, _, actual = result.message.partition("; got ")
    if actual:
        lines += [f"expected  {expected.removeprefix('expected ')}", f"got       {actual}"]
    else:
        lines.append(result.message)
    lines += [f"behaves like: {name}" for name in result.behaves_like]
    if result.counterexample:
        lines.append("smallest case found")
        lines += [f"  {line}" for line in case_lines(result.counterexample)]
    command = f"attention-properties check {report.subject} --only {result.clause}"
    lines.append(f"again     {command} --profile {report.profile} --seed {report.seed}")
    return lines


def case_lines(case: dict[str, Any]) -> list[str]:
    """A counterexample in attention's own terms."""
    s = case["sizes"]
    options = [case["dtype"], "bias" if case["bias"] else "no bias", f"p = {case['dropout']}"]
    lines = [
        f"B={s['batch']} T={s['tokens']} H={s['heads']} D={s['head_dim']} d_in={s['d_in']} "
        f"context_length={s['context_length']}, {', '.join(options)}, seed {case['seed']}, "
        f"past up to token {case['cut']}"
    ]
    for name, numbers in {"x": case["x"], "other": case["other"], **case["weights"]}.items():
        array = np.asarray(numbers)
        if array.size > 24:
            lines.append(f"{name} = {'x'.join(map(str, array.shape))} numbers, in the JSON report")
        else:
            text = np.array2string(array, separator=", ", precision=9, suppress_small=False)
            lines.append(f"{name} = {' '.join(text.split())}")
    return lines


def clause_table(report: Report) -> Table:
    """One line a clause: status, examples that counted, share of the error budget used, seconds.

    The clause comes last, so that a narrow terminal cuts nothing that is needed.
    """
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("status")
    for heading in ("examples", "margin", "seconds"):
        table.add_column(heading, justify="right")
    table.add_column("clause", overflow="fold")
    for r in sorted(report.results, key=lambda result: area_rank(result.clause)):
        if r.status is Status.BLOCKED:
            continue
        margin = "" if r.margin is None else f"{r.margin:.2g}"
        level = "" if r.level == "MUST" else f"  {r.level}"
        advisory = r.status is Status.FAIL and r.level != "MUST"
        told = r.message and (advisory or r.status is Status.VACUOUS)
        why = f"\n{r.message.splitlines()[0]}" if told else ""
        table.add_row(
            Text(str(r.status), style="yellow" if advisory else STYLES[r.status]),
            f"{r.counted}/{r.examples}",
            margin,
            f"{r.seconds:.2f}",
            Text.assemble(r.clause, (level, "dim"), (why, "dim")),
        )
    return table
