"""What is left in the user's folder, and what is found there instead of this distribution."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis.internal.conjecture import providers

from properties.basics.ownership import HOME, require_own
from properties.recognition.targets import find_one
from properties.runs.drawing import draw
from properties.spec.profiles import profile_named

TARGET = "attention:CausalAttention"
ASKED = ("--profile", "quick", "--only", "shape/output-shape")
PYTEST = ("-p", "no:cacheprovider", "--pyargs", "properties", "--attention", TARGET)
DOORS = {
    "check": ("properties", "check", TARGET, *ASKED),
    "diff": ("properties", "diff", TARGET, TARGET, *ASKED),
    "pytest": ("pytest", *PYTEST, "--attention-profile", "quick", "-k", "output-shape"),
}


def run(*arguments: str, cwd: Path, path: Path = HOME) -> subprocess.CompletedProcess[str]:
    """A module as a program, in a folder."""
    return subprocess.run(
        [sys.executable, "-B", "-m", *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(path)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("door", DOORS)
def test_nothing_is_left_in_the_folder_in_which_it_runs(door: str, tmp_path: Path) -> None:
    """Not the folder of Hypothesis either, in which nothing would be saved."""
    (tmp_path / "conftest.py").write_text("")
    done = run(*DOORS[door], cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["conftest.py"]


def test_what_is_drawn_does_not_depend_on_numbers_in_the_users_files(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same seed draws the same examples."""
    from hypothesis.internal.constants_ast import Constants

    def drawn() -> list[str]:
        cases = draw(find_one(TARGET), profile_named("ci"), 0)
        return [repr((case.sizes, case.seed, case.dtype, case.dropout)) for case in cases]

    before = drawn()
    read = Constants(integers=providers.SortedSet(range(7, 60000, 7)))
    monkeypatch.setattr(providers, "_get_local_constants", lambda: read)
    assert drawn() == before


def test_this_is_the_distributions_own() -> None:
    """In a checkout as in an installation."""
    require_own()


@pytest.mark.parametrize("package", ["attention", "properties"])
def test_a_package_of_another_distribution_is_refused(package: str, tmp_path: Path) -> None:
    """It was installed over ours: exit code 2, with the way out."""
    for name in ("attention", "properties"):
        ignored = shutil.ignore_patterns("tests", "__pycache__")
        shutil.copytree(HOME / name, tmp_path / name, ignore=ignored)
    shutil.copy(HOME / "SPEC.md", tmp_path)
    assert run("properties", "explain", "x", cwd=tmp_path, path=tmp_path).stderr.count("no clause")
    (tmp_path / package / "__init__.py").write_text("version = 3\n")
    done = run("properties", "explain", "x", cwd=tmp_path, path=tmp_path)
    assert done.returncode == 2
    assert f"{tmp_path / package / '__init__.py'} is not what" in done.stderr
    assert "-m pip install --force-reinstall --no-deps " in done.stderr


def test_a_file_called_attention_is_the_users_own(tmp_path: Path) -> None:
    """It can be checked, and only the faults cannot be asked beside it."""
    (tmp_path / "attention.py").write_text(
        "from torch import nn, softmax\n\n\nclass SelfAttention(nn.Module):\n"
        "    def forward(self, x):\n"
        "        return softmax(x @ x.transpose(-2, -1), dim=-1) @ x\n"
    )
    done = run("properties", "check", "attention:SelfAttention", *ASKED, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "attention:SelfAttention (plain) right" in done.stdout
    done = run("properties", "faults", "scale-absent", cwd=tmp_path)
    assert done.returncode == 2
    assert "run this in another folder" in done.stderr
