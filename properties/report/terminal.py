"""A report as text: the verdict first, then root failures, then a line for every clause.

Nothing depends on colour, and no id, number or command is ever broken over two lines: a log keeps
them whole.
"""

from __future__ import annotations

import shlex
import textwrap
from collections import Counter
from typing import Any

import numpy as np
from rich.console import Console
from rich.text import Text

from properties.areas import AREAS
from properties.report import characters
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
SCREEN = 24  # lines; the verdict is repeated below a longer table
INDENT = 2
SHORT = 24  # numbers of an array that are printed


def show(report: Report, console: Console) -> None:
    """Print the whole report."""
    console.print(headline(report), soft_wrap=True)
    for line in unsupported_lines(report):
        prose(console, line)
    for result in roots(report):
        console.print()
        for text in failure_lines(result, report, console.width):
            console.print(text, soft_wrap=True)
    console.print()
    show_clauses(report, console)
    console.print()
    for line in provenance(report):
        prose(console, line)
    if len(report.results) > SCREEN:
        console.print(closing(report), soft_wrap=True)


def prose(console: Console, text: str, indent: int = INDENT) -> None:
    """Text that may be wrapped between words, below what it belongs to."""
    for line in wrapped(text, console.width, " " * indent, " " * indent):
        console.print(Text(line, style="dim"), soft_wrap=True)


def wrapped(text: str, width: int, first: str, further: str) -> list[str]:
    """Lines of whole words, the first and the further ones indented so."""
    return textwrap.wrap(
        printable(text),
        width,
        initial_indent=first,
        subsequent_indent=further,
        break_long_words=False,
        break_on_hyphens=False,
    )


def roots(report: Report) -> list[Result]:
    """What is told in full: MUST clauses that failed, and errors."""
    return [
        result
        for result in report.results
        if result.status is Status.ERROR
        or (result.status is Status.FAIL and report.decides(result))
    ]


def headline(report: Report) -> Text:
    """The verdict, first thing: whether it conforms, and what was not asked."""
    words, style = verdict(report)
    return Text.assemble(
        (printable(report.subject), "bold"), f" ({report.family}) ", (words, style)
    )


def verdict(report: Report) -> tuple[str, str]:
    """The verdict in words, and its style: first whether it is right, then what is not refused."""
    words, style = first_half(report)
    return "; ".join([words, *rest(report)]), style


def first_half(report: Report) -> tuple[str, str]:
    """Whether attention is computed as it should be."""
    musts = [r for r in report.results if r.level == "MUST" and r.half == "right"]
    counts = Counter(r.status for r in musts)
    asked = f"{counts[Status.PASS]} of {len(musts)} laws hold"
    if counts[Status.WAIVED]:
        asked += f", {len(report.waived)} waived"
    if dependents := counts[Status.WAIVED] - len(report.waived):
        asked += f", {dependents} not asked because of that"
    if not report.right:
        kinds = (Status.FAIL, Status.VACUOUS, Status.ERROR, Status.BLOCKED)
        broken = ", ".join(f"{counts[status]} {status}" for status in kinds if counts[status])
        return f"not right: {broken or nothing_passed(report)}; {asked}", "bold red"
    if report.in_part:
        words = f"right in part{with_waivers(report)}: "
        if report.unasked:
            words += f"nothing was asked of {', '.join(report.unasked)}; "
        words += asked
        if report.unsupported:
            words += f", {len(report.unsupported)} could not be asked"
        return words, "bold yellow"
    style = "bold yellow" if report.waived else "bold green"
    return f"right{with_waivers(report)}: {asked}", style


def rest(report: Report) -> list[str]:
    """What bad input is not refused, and which edge is wrong."""
    unguarded, edges = (
        [clauses()[r.clause].brief for r in part] for part in (report.unguarded, report.edges)
    )
    found = [f"unguarded: {len(unguarded)} ({', '.join(unguarded)})"] if unguarded else []
    return [*found, *(f"edge: {brief}" for brief in edges)]


def with_waivers(report: Report) -> str:
    """How many accepted failures a verdict rests on."""
    count = len(report.waived)
    return f" with {count} waiver{'s' * (count > 1)}" if count else ""


def nothing_passed(report: Report) -> str:
    """Why a report does not conform in which no MUST clause is broken."""
    errors = sum(r.status is Status.ERROR for r in report.results)
    if errors:
        return f"{errors} error{'s' * (errors > 1)}"
    return "all that was asked is waived" if report.waived else "no law was asked"


def closing(report: Report) -> Text:
    """The last line, where a terminal stands when all is printed."""
    if report.conforms:
        return headline(report)
    broken = [result.clause for result in roots(report)]
    why = f": {', '.join(broken)}, told above" if broken else ""
    return Text.assemble((printable(report.subject), "bold"), (f" is not right{why}", "bold red"))


def unsupported_lines(report: Report) -> list[str]:
    """What could not be asked: a line for each argument, then one for each reason of a clause."""
    reasons: dict[str, list[str]] = {}
    for result in report.unsupported:
        reasons.setdefault(result.message, []).append(result.clause)
    lines = [f"not asked: {argument}, {why}" for argument, why in report.unasked.items()]
    return lines + [f"not asked: {', '.join(ids)}; {why}" for why, ids in reasons.items()]


def provenance(report: Report) -> list[str]:
    """What it takes to see the same again, and how the subject was understood."""
    known = ", ".join(f"{name} {version}" for name, version in report.versions.items())
    lines = [
        f"profile {report.profile}, seed {report.seed}, {report.seconds:.1f} s; "
        f"{', '.join(report.dtypes)}",
        known,
        chance(report),
    ]
    renamed = [f"{ours} is {theirs}" for ours, theirs in report.matched.items() if ours != theirs]
    if renamed:
        lines.append(f"matched: {', '.join(renamed)}")
    absent = [f"{name} ({r.partition(chr(10))[0]})" for name, r in report.lacking.items()]
    if absent:
        lines.append(f"lacking: {', '.join(absent)}")
    return [line for line in lines if line] + [f"note: {note}" for note in report.notes]


def chance(report: Report) -> str:
    """How often a right implementation is accused because of how its dropout happened to fall."""
    if not report.false_alarm:
        return ""
    return (
        "laws about dropout accuse a right implementation by chance with probability at most "
        f"{characters.exponential(report.false_alarm)} per run"
    )


def failure_lines(result: Result, report: Report, width: int) -> list[Text]:
    """Requirement, expected and actual, the smallest case, the picture, and the commands."""
    title = Text(f"{result.status.upper()} {result.clause}  {result.level}", STYLES[result.status])
    lines = hanging(told(result), width - INDENT)
    if result.counterexample:
        lines.append("smallest case found")
        lines += [f"  {line}" for line in case_lines(result.counterexample)]
    if result.evidence:
        what, *grids = characters.picture(result.evidence, width - 2 * INDENT)
        lines += [what, *(f"  {line}" for line in grids)]
    lines += [f"again     {repeat(result, report)}", f"explain   {explain(result)}"]
    return [title, *(Text(" " * INDENT + printable(line)) for line in lines)]


def told(result: Result) -> list[tuple[str, str]]:
    """What was required, expected and got, and what the subject behaves like."""
    said = in_parts(clauses()[result.clause].requirement, result.message)
    return said + [("behaves like:", name) for name in result.behaves_like]


def in_parts(requirement: str, message: str) -> list[tuple[str, str]]:
    """What was required, and a message as what was expected and what came, each with its label."""
    expected, _, actual = message.partition("; got ")
    if not actual:
        return [("requires", requirement), ("but", message)]
    wanted = expected.removeprefix("expected ")
    return [("requires", requirement), ("expected", wanted), ("got", actual)]


def hanging(said: list[tuple[str, str]], width: int) -> list[str]:
    """Each text beside its label, as many lines as it takes."""
    return [line for label, text in said for line in wrapped(text, width, f"{label:<9} ", " " * 10)]


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


def case_lines(case: dict[str, Any], *, whole: bool = False) -> list[str]:
    """A counterexample in attention's own terms; large arrays only where the whole is asked for."""
    s = case["sizes"]
    options = [case["dtype"], "bias" if case["bias"] else "no bias", f"p = {case['dropout']}"]
    lines = [
        f"B={s['batch']} T={s['tokens']} H={s['heads']} D={s['head_dim']} d_in={s['d_in']} "
        f"context_length={s['context_length']}",
        f"{', '.join(options)}, seed {case['seed']}, past up to token {case['cut']}",
    ]
    for name, numbers in {"x": case["x"], "other": case["other"], **case["weights"]}.items():
        array = np.asarray(numbers)
        if array.size > SHORT and not whole:
            lines.append(
                f"{name} = {'x'.join(map(str, array.shape))} numbers, in the reports as JSON or HTML"
            )
        else:
            text = np.array2string(array, separator=", ", precision=9, threshold=array.size + 1)
            lines.append(f"{name} = {' '.join(text.split())}")
    return lines


def show_clauses(report: Report, console: Console) -> None:
    """One line a clause: status, examples that counted, share of the error budget used.

    The clause comes last, so that a narrow terminal cuts nothing that is needed.
    """
    listed = sorted(
        (r for r in report.results if r.status is not Status.BLOCKED),
        key=lambda result: area_rank(result.clause),
    )
    rows = [(str(r.status), f"{r.counted}/{r.examples}", margin(r.margin)) for r in listed]
    widths = [max(map(len, column)) for column in zip(("", "", ""), *rows, strict=True)]
    for result, row in zip(listed, rows, strict=True):
        show_clause(result, row, widths, console)
    blocked = Counter(r.clause.partition("/")[0] for r in report.results if is_blocked(r))
    if blocked:
        areas = ", ".join(f"{area} {blocked[area]}" for area in AREAS if blocked[area])
        cause = "not finished, or blocked" if report.fail_fast else "blocked"
        prose(console, f"{blocked.total()} {cause} by what does not hold: {areas}", indent=0)
    prose(console, "examples that counted of all; margin: share of the error budget used", indent=0)


def show_clause(
    result: Result, row: tuple[str, str, str], widths: list[int], console: Console
) -> None:
    """One clause; below it the message where that is told nowhere else."""
    advisory = result.status is Status.FAIL and result.level != "MUST"
    status, examples, used = row
    line = Text(status.ljust(widths[0]), "yellow" if advisory else STYLES[result.status])
    line.append(f" {examples:>{widths[1]}} {used:>{widths[2]}} {result.clause}", "not bold default")
    if result.level != "MUST":
        line.append(f"  {result.level}", "dim")
    console.print(line, soft_wrap=True)
    if result.message and (advisory or result.status in (Status.VACUOUS, Status.WAIVED)):
        prose(console, result.message.splitlines()[0], indent=sum(widths) + 3)


def is_blocked(result: Result) -> bool:
    """Whether the clause was not asked because one that it depends on is broken."""
    return result.status is Status.BLOCKED


def margin(share: float | None) -> str:
    """The share of an error budget in percent; nothing where the law has no tolerance."""
    if share is None:
        return "-"
    percent = 100.0 * share
    if 0.0 < percent < 0.1:
        return "<0.1%"
    return f"{percent:.0f}%" if percent >= 10.0 else f"{percent:.2g}%"


def printable(text: str) -> str:
    """What a subject says, without what would move the cursor or change colours."""
    return "".join(c if c.isprintable() else " " for c in text)
