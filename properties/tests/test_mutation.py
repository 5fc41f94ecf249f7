"""The list of mutants that change nothing stays true to the sources it speaks of."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest

from properties.tests.mutation import judges

CHECKOUT = Path(__file__).parents[2]
LISTED = tomllib.loads(
    (CHECKOUT / "properties/tests/mutation/equivalent.toml").read_text(encoding="utf-8")
)


def functions(module: str) -> dict[str, str]:
    """The source of each function by name, spaces squeezed, those of one name together; "" is all."""
    source = (CHECKOUT / module).read_text(encoding="utf-8")
    found = {"": " ".join(source.split())}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            decorators = [part.lineno for part in node.decorator_list]
            lines = source.splitlines()[min([node.lineno, *decorators]) - 1 : node.end_lineno]
            found[node.name] = found.get(node.name, "") + " ".join(" ".join(lines).split())
    return found


@pytest.mark.parametrize("entry", LISTED.get("equivalent", []), ids=lambda e: f"{e['function']}")
def test_a_listed_mutant_changes_code_that_is_there_and_has_a_reason(entry: dict[str, str]) -> None:
    """An entry whose lines are gone speaks of nothing; the nightly run would find it much later."""
    assert set(entry) == {"module", "function", "before", "after", "reason"}
    assert " ".join(entry["before"].split()) in functions(entry["module"])[entry["function"]]
    assert entry["before"] != entry["after"]
    assert entry["reason"].endswith(".")


def test_what_judges_a_mutated_clause_finds_all_that_it_asks() -> None:
    """A clause that stands is judged by its faults, its budgets and right modules, and stays green."""
    assert judges.judged({"weights/rows-sum-to-one"}) is None
