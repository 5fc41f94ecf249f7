"""The rules of `benchmarks/rules.py`: each passes what is right and rejects what is far off."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "rules.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def rules() -> Any:
    """The script, from where it lies."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        import rules
    finally:
        sys.path.pop(0)
    return rules


def test_each_rule_passes_what_is_right_and_rejects_what_is_far_off(rules: Any) -> None:
    call = next(iter(rules.steep_calls(64)))
    for dtype in rules.FORMATS_ASKED:
        right = rules.held(call, call.right, dtype)
        assert [name for name, passes in rules.RULES.items() if not passes(right)] == []
        off = replace(right, found=-right.found)
        assert [name for name, passes in rules.RULES.items() if passes(off)] == []
        nan = replace(right, found=np.full_like(right.found, np.nan))
        assert [name for name, passes in rules.RULES.items() if passes(nan)] == []


def test_the_page_has_every_rule_with_its_source_and_in_every_table(rules: Any) -> None:
    for name in rules.RULES:
        assert PAGE.count(f"\n| {name} |") == 5, name
