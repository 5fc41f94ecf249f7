"""SPEC.md as it is written: the clauses as text, without loading what asks them."""

from __future__ import annotations

import re
from pathlib import Path

from rich.table import Table
from rich.text import Text

from properties.basics.errors import QuestionError
from properties.spec.areas import AREAS, unknown

PACKAGE = Path(__file__).parents[1]
PLACES = (PACKAGE / "SPEC.md", PACKAGE.parent / "SPEC.md")  # installed, and in a checkout
HEADING = re.compile(
    r"^### (?P<id>\S+)\n\n\*\*(?P<level>\w+)\*\* (?P<requirement>.+)$", re.MULTILINE
)


def sections() -> dict[str, re.Match[str]]:
    """The heading of each clause by its id, in the order of SPEC.md."""
    return {found["id"]: found for found in HEADING.finditer(text())}


def text() -> str:
    """SPEC.md; QuestionError where it is not."""
    for path in PLACES:
        if path.exists():
            return path.read_text(encoding="utf-8")
    raise QuestionError(
        f"SPEC.md is not beside {PACKAGE}, where it is installed with the package; install it again"
    )


def section(name: str) -> str:
    """The section of one clause; QuestionError if there is none of this name."""
    known = sections()
    if name in AREAS:
        raise QuestionError(f"{name!r} is an area; name one clause of it, such as {name}/...")
    if name not in known:
        raise unknown(name, known)
    found = known[name]
    return re.split(r"\n\n##", found.string[found.start() :], maxsplit=1)[0].rstrip()


def table() -> Table:
    """Every clause with its level, and its requirement below its id: side by side they need more
    than 80 columns.
    """
    grid = Table(box=None, pad_edge=False, show_header=False)
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for id, found in sections().items():
        grid.add_row(found["level"], Text.assemble((id, "bold"), "\n", found["requirement"]))
    return grid
