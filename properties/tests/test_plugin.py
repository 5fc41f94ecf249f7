"""pytest --attention TARGET: one test for each subject and clause, in a checkout and elsewhere."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
OPTIONS = ("--attention-profile", "quick", "-p", "no:cacheprovider", "-v")


def pytest_run(*arguments: str, cwd: Path) -> tuple[int, str]:
    """Exit code and output of a pytest process."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *OPTIONS, *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        cwd=cwd,
    )
    return done.returncode, done.stdout + done.stderr


def test_a_right_module_passes_one_test_for_each_clause_chosen(tmp_path: Path) -> None:
    """Ids are subject and slug, the header names target and seed, -k chooses."""
    code, out = pytest_run(
        "--pyargs",
        "properties",
        "--attention",
        "attention:CausalAttention",
        "-k",
        "output-shape or rows-sum",
        cwd=tmp_path,
    )
    assert code == 0, out
    assert "attention: attention:CausalAttention; profile quick, seed 0; python" in out
    for clause in ("shape/output-shape", "weights/rows-sum-to-one"):
        assert f"test_clause_holds[attention:CausalAttention-{clause}] PASSED" in out
    assert "2 passed" in out


def test_a_wrong_module_fails_with_the_reports_text_in_a_checkout() -> None:
    """Requirement, expected, actual and case; no traceback of ours and no noise of Hypothesis."""
    code, out = pytest_run(
        "--attention", "docs/leaky.py:LeakyAttention", "-k", "future-does-not-change-past", cwd=ROOT
    )
    assert code == 1, out
    assert "1 failed" in out
    assert "requires  Exchanging the tokens after a position" in out
    assert "B=1 T=2 H=1 D=1" in out
    assert "Falsifying" not in out
    assert "runner.py" not in out


def test_a_target_that_is_not_there_is_a_usage_error(tmp_path: Path) -> None:
    """Exit code 2, as on the command line, and its message."""
    code, out = pytest_run("--pyargs", "properties", "--attention", "no_such:Thing", cwd=tmp_path)
    assert code == 2
    assert "no_such" in out
    assert "Traceback" not in out


def test_the_hypothesis_seed_is_the_seed_of_the_run() -> None:
    """--hypothesis-seed decides what is drawn."""
    code, out = pytest_run(
        "--attention",
        "attention:CausalAttention",
        "--hypothesis-seed=7",
        "-k",
        "output-shape",
        cwd=ROOT,
    )
    assert code == 0, out
    assert "seed 7" in out
