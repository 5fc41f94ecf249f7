"""The tables of a survey in Markdown: the verdicts, and the atlas of conventions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from properties.basics.errors import QuestionError
from properties.reports.card import BRIEF
from properties.survey.document import rows
from properties.survey.row import Row

BEGIN, END = "<!-- drawn by attention-properties survey: begin -->", "<!-- end -->"
NAMED = 3  # arguments or findings that a cell names

ATLAS: Mapping[str, Callable[[Row], str]] = {
    "axes": lambda row: axes(row.conventions.get("layout", "")),
    "default scale": lambda row: row.conventions.get("scale", ""),
    "boolean mask": lambda row: brief(row, "mask"),
    "padding": lambda row: brief(row, "padding"),
    "a row that sees nothing": lambda row: row.conventions.get("empty", ""),
    "diagonal where T is not S": lambda row: row.conventions.get("align", ""),
    "a window of W": lambda row: row.conventions.get("window", ""),
    "returned weights": lambda row: row.conventions.get("weights", ""),
    "log-sum-exp": lambda row: lse(row),
    "positions": lambda row: row.conventions.get("rotary", ""),
    "dropout": lambda row: row.conventions.get("dropout", ""),
}
"""The columns of the atlas. A cell is empty where a library has no such choice, or none that is asked."""


def drawn(content: Mapping[str, Any]) -> str:
    """Both tables, and what they were drawn from."""
    found = rows(content)
    asked = [row for row in found if row.verdict != "refused"]
    said = f"Profile {content['profile']}, seed {content['seed']}, torch {content['torch']}."
    parts = [
        said,
        table(["library", "path", "verdict", "laws", "not asked", "margin"], map(told, found)),
        "## Conventions",
        table(
            ["library", *ATLAS], ([row.name, *(c(row) for c in ATLAS.values())] for row in asked)
        ),
    ]
    return "\n\n".join(parts)


def told(row: Row) -> list[str]:
    """A row of the first table."""
    return [
        f"{row.library} {row.version}",
        f"{row.path}: `{asked_as(row)}`",
        verdict(row),
        f"{row.holding} of {row.laws}" if row.laws else "",
        not_asked(row),
        "" if row.margin is None else f"{100 * row.margin:.2g}%",
    ]


def asked_as(row: Row) -> str:
    """The target and its options, variables before it as a shell has them."""
    variables = [part for part in row.options if not part.startswith("--")]
    return " ".join([*variables, row.target, *row.options[len(variables) :]])


def verdict(row: Row) -> str:
    """The verdict and what there is to say of it."""
    words = row.verdict if row.verdict != "refused" else f"refused: {row.reason}"
    if row.findings:
        words += f": {listed(row.findings)}"
    for name, found in (("unguarded", row.unguarded), ("edge", row.edges)):
        words += f"; {name}: {listed(found)}" * bool(found)
    return words


def not_asked(row: Row) -> str:
    """The arguments that kept their defaults, and how many laws could not be asked."""
    laws = f"{row.unasked} laws" if row.unasked else ""
    return "; ".join(filter(None, [listed(row.not_asked), laws]))


def listed(words: Sequence[str]) -> str:
    """The first words, and how many more there are."""
    more = len(words) - NAMED
    return ", ".join(words[:NAMED]) + (f" and {more} more" if more > 0 else "")


def brief(row: Row, name: str) -> str:
    """A convention of booleans in few words."""
    if name not in row.conventions:
        return ""
    return BRIEF[name].get(row.conventions[name], "none of the known ones")


def axes(layout: str) -> str:
    """(B, H, T, D)."""
    return f"({', '.join(layout.split())})" if layout else ""


def lse(row: Row) -> str:
    """The base and the axes."""
    kept = row.conventions.get("lse", ""), axes(row.conventions.get("lse_axes", ""))
    return ", ".join(filter(None, kept))


def table(head: Sequence[str], body: Any) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(cell(part) for part in line)} |" for line in lines)


def cell(text: str) -> str:
    """A text that a table can hold."""
    return text.replace("|", "\\|").replace("\n", " ")


def replaced(page: str, content: Mapping[str, Any], name: str) -> str:
    """The page with what is drawn between its marks; QuestionError where it has none."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise QuestionError(
            f"{name} has no lines {BEGIN} and {END}; write them where the tables go"
        )
    return f"{before}{BEGIN}\n\n{drawn(content)}\n\n{END}{after}"


def redraw(path: Path, content: Mapping[str, Any]) -> None:
    """Draw the tables of a page anew."""
    page = path.read_text(encoding="utf-8")
    path.write_text(replaced(page, content, str(path)), encoding="utf-8")
