"""The rooms of CONTRIBUTING's map: each imports only those above it, and the map shows all of them."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import properties

HOME = Path(properties.__file__).parent
MAP = (HOME.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
ROOMS = re.findall(r"^\| `(\w+)/` \|", MAP, re.MULTILINE)
DOORS = {"tests", "commands"}  # they may open any room


def test_the_map_shows_every_room() -> None:
    there = {path.parent.name for path in HOME.glob("*/__init__.py")} - DOORS
    assert there == set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_rooms_above_it(room: str) -> None:
    above = ROOMS[: ROOMS.index(room) + 1]
    upward = {
        f"{path.relative_to(HOME)}: {module}"
        for path in (HOME / room).rglob("*.py")
        for module in imported(path)
        if module.split(".")[1] not in above
    }
    assert upward == set()


def imported(path: Path) -> list[str]:
    """The modules of the suite that a file imports, anywhere in it; not what the package offers itself."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("properties."):
            found.append(str(node.module))
        elif isinstance(node, ast.Import):
            found += [a.name for a in node.names if a.name.startswith("properties.")]
    return found
