"""A comparison in words: a table of who gives what, and who agrees with whom in a sentence."""

from __future__ import annotations

from collections.abc import Iterator

from properties.survey.comparison import Compared

HEAD = ("asked", "output", "definition", "group")
NOWHERE = "nothing is defined here"
ALONE = "none of the calls that the law asks is off by itself: nothing to compare"


def lines(compared: Compared) -> Iterator[str]:
    """The comparison, a line each."""
    yield f"{compared.name}: {compared.finding}"
    if not compared.call:
        yield f"  {compared.reason or ALONE}"
        return
    yield f"  {compared.call['words']}; output at {place(compared)}"
    if not compared.defined:
        yield f"  {NOWHERE}; for other such rows it gives {compared.number(compared.right)}"
    yield ""
    rows = [HEAD, definition(compared), *answers(compared)]
    widths = [max(len(row[n]) for row in rows) for n in range(len(HEAD))]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield f"  {'  '.join(cells)}".rstrip()
    yield ""
    yield from (f"  {reason}" for reason in refusals(compared))
    yield f"  {sentence(compared)}"


def place(compared: Compared) -> str:
    """Which number is shown."""
    item, query, column = compared.place
    return f"item {item}, query {query}, column {column}"


def definition(compared: Compared) -> tuple[str, str, str, str]:
    """The row of what is right."""
    right = compared.number(compared.right) if compared.defined else "none"
    return "the definition, in float64", right, "", ""


def answers(compared: Compared) -> Iterator[tuple[str, str, str, str]]:
    """A row for each that gives an output, by group."""
    letters, outputs = compared.letters(), compared.outputs
    for name, letter in sorted(letters.items(), key=lambda item: item[1]):
        who = f"{name} (whose failure it is)" if name == compared.name else name
        yield who, compared.number(outputs[name]), judged(compared, name), letter


def judged(compared: Compared, name: str) -> str:
    """Whether one's output is what the definition gives."""
    if not compared.defined:
        return ""
    return "agrees" if compared.agrees(compared.outputs[name]) else "differs"


def refusals(compared: Compared) -> Iterator[str]:
    """Why the others give no output, each reason once."""
    reasons: dict[str, list[str]] = {}
    for name, answer in compared.answers.items():
        if isinstance(answer, str):
            reasons.setdefault(answer, []).append(name)
    for reason, names in reasons.items():
        yield f"not compared, {reason}: {'; '.join(names)}"


def sentence(compared: Compared) -> str:
    """How many agree with whom."""
    groups, count = compared.groups(), len(compared.outputs)
    letters = compared.letters()
    said = [
        f"{len(group)} of {count} {'gives' if len(group) == 1 else 'give'} {letters[group[0]]}"
        for group in groups
    ]
    if not said:
        return "nobody gives an output"
    right = [letters[g[0]] for g in groups if judged(compared, g[0]) == "agrees"]
    if not compared.defined:
        said.append(NOWHERE)
    elif right:
        said.append(f"the definition gives {' or '.join(right)}")
    else:
        said.append("the definition gives none of these")
    return ", ".join(said)
