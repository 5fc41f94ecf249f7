"""Clauses x faults as text: two lines a fault, then the clauses, then what it comes to."""

from __future__ import annotations

import statistics
import textwrap
from collections.abc import Iterable

from rich.console import Console
from rich.text import Text

from properties.spec.clause import clauses
from properties.zoo.faults import faults
from properties.zoo.matrix import First, Matrix, Row, Size


def show_fault(row: Row, console: Console) -> None:
    """What became of one fault: its first counterexample, then every clause that saw it."""
    if row.first is None:
        console.print(Text(f"{row.fault}: SURVIVES", style="bold red"))
        told = f"said to break {', '.join(row.names)}; {row.symptom}"
        indent(console, told, 4)
    else:
        console.print(Text(row.fault, style="bold"))
        indent(console, f"{met(row.first)}; {shape(row.first.size)}", 2)
    if row.killers:
        indent(console, ", ".join(map(levelled, row.killers)), 4)
    if row.missed:
        indent(console, f"said to break, but does not: {', '.join(row.missed)}", 4, "yellow")


def show_clauses(matrix: Matrix, console: Console) -> None:
    """How many faults each clause kills, and those that nothing else does."""
    console.print(Text("\nclauses, and the faults that they kill", style="bold"))
    single = matrix.single
    for id, killed in matrix.kills.items():
        if not killed and id not in matrix.owed:
            continue
        console.print(Text(f"{len(killed):4} {id}", style="" if killed else "bold red"))
        if single[id]:
            indent(console, f"alone: {', '.join(single[id])}", 7)


def show_summary(matrix: Matrix, console: Console) -> None:
    """The verdict on the suite, last."""
    console.print()
    verdict, style = ("the suite holds", "bold green") if matrix.holds else ("holes", "bold red")
    console.print(Text(f"{verdict}: {headline(matrix)}", style=style))
    for line in summary(matrix):
        indent(console, line, 2, "")


def headline(matrix: Matrix) -> str:
    """The claim of the matrix in one line."""
    survivors, idle = len(matrix.survivors), len(matrix.idle)
    rest = f"{survivors or 'none'} survive{'' if survivors > 1 else 's'}"
    if idle:
        rest += f", {counted(idle, 'clause')} kill{'s' if idle == 1 else ''} nothing"
    return f"{counted(len(matrix.rows), 'fault')}, {counted(len(matrix.owed), 'clause')}: {rest}"


def summary(matrix: Matrix) -> list[str]:
    """Counts, names of what is missing, and how soon and how small the counterexamples are."""
    rows, owed = matrix.rows, len(matrix.owed)
    advised = sum(row.first is not None and row.first.level != "MUST" for row in rows)
    lines = [
        f"profile {matrix.profile}, seed {matrix.seed}; {asked(matrix)}",
        f"faults killed: {len(rows) - len(matrix.survivors)} of {len(rows)}"
        + (f", {advised} of them by SHOULD" if advised else ""),
        f"survivors: {', '.join(matrix.survivors) or 'none'}",
        f"clauses that kill: {owed - len(matrix.idle)} of {owed}",
        f"clauses that kill nothing: {', '.join(matrix.idle) or 'none'}",
    ]
    if matrix.full:
        alone = sum(map(len, matrix.single.values()))
        lines.append(f"faults that die by one clause alone: {alone} of {len(rows)}")
        lines += apart(matrix)
    missed = sum(len(row.missed) for row in rows)
    if missed:
        lines.append(f"clauses said to be broken that are not: {missed}")
    return lines + finds(rows)


def apart(matrix: Matrix) -> list[str]:
    """How many faults a report tells as one finding, and each of the others with its reason."""
    rows, split = matrix.rows, matrix.split
    one = sum(len(row.findings) == 1 for row in rows)
    named = sum(any("/" not in told for told in row.findings) for row in rows)
    return [
        f"told as one finding: {one} of {len(rows)}; with a name: {named}",
        *(
            f"told as {len(told)}: {name} ({'; '.join(told)}), {faults()[name].apart or 'no reason given'}"
            for name, told in split.items()
        ),
    ]


def finds(rows: Iterable[Row]) -> list[str]:
    """Median and worst time and size of the first counterexamples."""
    found = {row.fault: row.first for row in rows if row.first}
    if not found:
        return []
    slowest = max(found, key=lambda name: found[name].seconds)
    largest = max(found, key=lambda name: found[name].size.volume)
    seconds = statistics.median(first.seconds for first in found.values())
    examples = statistics.median_low([first.examples for first in found.values()])
    size = Size(*map(statistics.median_low, zip(*(f.size for f in found.values()), strict=True)))
    return [
        f"first counterexample: median {seconds:.2f} CPU s and example {examples}, "
        f"worst {found[slowest].seconds:.2f} s ({slowest})",
        f"smallest form: median {shape(size)}, worst {shape(found[largest].size)} ({largest})",
    ]


def asked(matrix: Matrix) -> str:
    """Which clauses were asked of which faults."""
    if not matrix.full:
        return "each clause alone on the faults that name it"
    return (
        "every clause alone on every fault of its family, on fewer examples where the fault does "
        "not name it; clauses of profile thorough on faults that name them"
    )


def met(first: First) -> str:
    """How soon a run meets the first counterexample."""
    return f"{first.seconds:.2f} s, example {first.examples}"


def shape(size: Size) -> str:
    """A size in attention's own terms."""
    return f"B={size.B} T={size.T} H={size.H} D={size.D}"


def levelled(id: str) -> str:
    """A clause's id, with its level where that is not MUST."""
    level = clauses()[id].level
    return id if level == "MUST" else f"{id} ({level})"


def counted(number: int, what: str) -> str:
    """'1 fault', '2 faults'."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def indent(console: Console, text: str, columns: int, style: str = "dim") -> None:
    """A paragraph, indented and wrapped."""
    margin = " " * columns
    lines = textwrap.wrap(
        text,
        console.width,
        initial_indent=margin,
        subsequent_indent=margin,
        break_on_hyphens=False,  # an id stays whole, to be copied
        break_long_words=False,
    )
    for line in lines:
        console.print(Text(line, style=style), soft_wrap=True)
