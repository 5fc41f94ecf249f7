"""benchmarks/guard.py says what has become slower, and measures what it has committed."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def guard(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return import_module("guard")


def test_a_ratio_a_third_above_the_committed_one_is_told(guard: Any) -> None:
    """One that is a little above, or below, is not; one on one side alone is."""
    before = {"same": 1.0, "busy": 1.0, "slow": 1.0, "gone": 1.0}
    now = {"same": 0.5, "busy": 1.3, "slow": 1.4, "new": 1.0}
    told = ["slow: 1.40, committed 1.00", "new: not committed", "gone: not measured"]
    assert guard.slower(now, before) == told


def test_what_is_slower_is_the_exit_code_and_the_ratios_are_written(
    guard: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """--json writes what was measured, --commit what the next run is held to."""
    monkeypatch.setattr(guard, "COMMITTED", tmp_path / "ratios.json")
    monkeypatch.setattr(guard, "ratios", lambda: {"work": 1.0})
    assert guard.main(["--json", str(tmp_path / "now.json")]) == 1
    assert guard.main(["--commit"]) == 0
    assert (tmp_path / "now.json").read_text() == (tmp_path / "ratios.json").read_text()
    monkeypatch.setattr(guard, "ratios", lambda: {"work": 1.5})
    assert guard.main([]) == 1


def test_what_is_committed_is_what_is_measured(guard: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the names of the ratios."""
    for name in ("used", "started"):
        monkeypatch.setattr(guard, name, lambda *work: 1.0)
    assert list(guard.ratios()) == list(guard.committed())
