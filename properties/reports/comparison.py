"""A comparison as text, what changed only; and as JSON."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

from rich.console import Console
from rich.text import Text

from properties.compare.outcome import (
    DIFFERENT,
    RESULTS,
    UNKNOWN,
    Agreement,
    Change,
    Comparison,
)
from properties.reports.card import convention
from properties.reports.lines import INDENT, case_lines, hanging, in_parts, printable
from properties.reports.terminal import prose
from properties.reports.verdict import plural
from properties.spec.clause import clauses

SCHEMA = "attention-properties/diff/1"
NAMES = {
    "outputs": "outputs",
    "calls": "calls",
    "convention": "conventions",
    "gradients": "gradients",
    "clause": "clauses",
    "refusal": "refusals of bad input",
    "checkpoint": "the state_dict",
    "interface": "the interface",
}


def show(found: Comparison, console: Console) -> None:
    """Print the verdict, each change, and what is no part of the verdict."""
    console.print(Text.assemble((found.old, "bold"), " -> ", (found.new, "bold"), overflow="fold"))
    style = "bold green" if found.same else "bold red"
    console.print(Text(f"  {headline(found)}", style=style), soft_wrap=True)
    for change in found.changes:
        title, *rest = change_lines(change, console.width - INDENT)
        console.print(Text(f"\n{title}", style="bold red"))
        for line in rest:
            console.print(
                Text(" " * INDENT + printable(line)), soft_wrap=True
            )  # to be copied whole
    console.print()
    for said in background(found):
        for text in prose(said, console.width):
            console.print(text, soft_wrap=True)
    words = shlex.join([found.old, found.new, *found.options])
    again = (
        f"again: attention-properties diff {words} --profile {found.profile} --seed {found.seed}"
    )
    console.print(Text(" " * INDENT + again, style="dim"), soft_wrap=True)  # to be copied whole


def headline(found: Comparison) -> str:
    """The verdict in a line: the results, and what else changed."""
    kinds = [name for kind, name in NAMES.items() if any(c.kind == kind for c in found.changes)]
    if found.same:
        tokens = plural(found.outputs.tokens, "token")
        return f"{found.verdict}: nothing else has changed, up to {tokens}"
    if found.results == UNKNOWN and not found.changes:
        unknown = [kind for kind in RESULTS if getattr(found, kind).unknown]
        return f"{' and '.join(unknown)} {UNKNOWN}: whether they have changed is not known"
    if found.verdict == DIFFERENT:
        return f"different: {', '.join(kinds)}"
    return f"{found.verdict}, but {' and '.join(kinds)} changed"


def change_lines(change: Change, width: int) -> list[str]:
    """A change's title, what was and what is, and the smallest case that shows it."""
    if change.kind == "clause" and change.clause:
        clause = clauses()[change.clause]
        first = f"BROKEN {change.clause}  {clause.level}  {change.old}"
        said = in_parts(clause.requirement, change.new)
        said += [("behaves like", change.name)] if change.name else []
        said += [("breaks too", ", ".join(change.also))] if change.also else []
    elif change.kind == "convention":
        first = "CHANGED convention"
        sides = (("was", change.old), ("is", change.new))
        said = [(when, convention(change.what, {"answer": a, "found": ""})) for when, a in sides]
    else:
        first = f"CHANGED {title(change)}"
        said = [("was", change.old), ("is", change.new)]
    lines = [first, *hanging(said, width)]
    if change.counterexample:
        lines.append("smallest case found")
        case = case_lines(change.counterexample, change.clause, told=change.told)
        lines += [f"  {line}" for line in case]
    return lines


def title(change: Change) -> str:
    """The kind of a change and what it is about."""
    clause = f"  ({change.clause})" if change.clause else ""
    told = f"{change.kind}: {change.what}" if change.what else change.kind
    return told + clause


def background(found: Comparison) -> list[str]:
    """What was compared and how near it was, and what is no part of the verdict."""
    lines = [
        f"family {found.family}, profile {found.profile}, seed {found.seed}, {found.seconds:.1f} s; "
        f"{found.asked} clauses asked of both",
        f"outputs: {nearness(found, 'outputs')}",
        *([f"calls: {nearness(found, 'calls')}"] if found.calls != Agreement() else []),
        f"gradients: {nearness(found, 'gradients')}",
    ]
    if found.cost:
        cost = ", ".join(f"{name} {ratio:.2f}" for name, ratio in found.cost.items())
        lines.append(f"new / old, not judged: {cost}")
    return lines + [f"note: {note}" for note in found.notes]


def nearness(found: Comparison, kind: str) -> str:
    """How many examples agreed, and how well."""
    changed = {change.kind for change in found.changes}
    agreement: Agreement = getattr(found, kind)
    if kind in changed:
        return "different"
    if agreement.unknown:
        return UNKNOWN
    if not agreement.examples:
        return (
            "not compared, since the outputs differ" if "outputs" in changed else "none to compare"
        )
    tokens = plural(agreement.tokens, "token")
    exact = f"{agreement.identical} of {agreement.examples} examples, up to {tokens}, bit-identical"
    if agreement.raised:
        exact += f" ({agreement.raised} more {UNKNOWN})"
    if agreement.identical == agreement.examples:
        return exact
    return f"{exact}, the others apart by at most {agreement.share:.2g} of what rounding may do"


def write(found: Comparison, path: Path) -> None:
    """The comparison as a JSON document."""
    document = {"schema": SCHEMA, **found.to_dict()}
    text = json.dumps(document, indent=2, allow_nan=False, default=float)
    path.write_text(text + "\n", encoding="utf-8")
