"""The runners in `examples/vectors`: a right attention passes, and each wrong one gets its name."""

from __future__ import annotations

import contextlib
import io
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import properties

ROOT = Path(properties.__file__).parent.parent
RUNNERS = ROOT / "examples" / "vectors"
FILES = sorted(
    str(path) for path in (ROOT / "vectors").glob("*.json") if path.name != "schema.json"
)
NAMED = {
    "check.py": {"groups-tiled", "causal-from-the-top-left", "scale-squared"},
    "check.js": {"groups-tiled", "cap-ignored", "True-hides"},
    "check.rs": {"groups-tiled", "causal-from-the-top-left", "scale-squared"},
    "check.c": {"groups-tiled", "causal-from-the-top-left", "cap-ignored"},
}
WAYS = [(runner, which) for runner, wrong in NAMED.items() for which in ("right", *sorted(wrong))]


def tool(name: str) -> str:
    """Where it is."""
    found = shutil.which(name)
    return found or pytest.skip(f"no {name} here")


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The runner in C."""
    target = str(tmp_path_factory.mktemp("runner") / "check")
    source = str(RUNNERS / "check.c")
    command = [tool("cc"), "-O1", source, "-o", target, "-lcjson", "-lm"]
    done = subprocess.run(command, capture_output=True, text=True)
    if "cjson/cJSON.h" in done.stderr:
        pytest.skip("no cJSON here (libcjson-dev)")
    assert done.returncode == 0, done.stderr
    return target


@pytest.fixture(scope="module")
def compiled_by_rust(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The runner in Rust."""
    target = str(tmp_path_factory.mktemp("runner") / "check")
    subprocess.run([tool("rustc"), str(RUNNERS / "check.rs"), "-o", target], check=True)
    return target


def last_line(runner: str, which: str, request: pytest.FixtureRequest) -> str:
    """What a runner says in the end."""
    if runner == "check.py":
        return of_python(which, request)
    if runner == "check.c":
        command = [str(request.getfixturevalue("compiled"))]
    elif runner == "check.rs":
        command = [str(request.getfixturevalue("compiled_by_rust"))]
    else:
        command = [tool("node"), str(RUNNERS / runner)]
    done = subprocess.run([*command, which, *FILES], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1]


def of_python(which: str, request: pytest.FixtureRequest) -> str:
    """In this process, which has NumPy already."""
    patch: pytest.MonkeyPatch = request.getfixturevalue("monkeypatch")
    target = f"attentions:{which.replace('-', '_')}"
    patch.setattr(sys, "argv", ["check.py", target, *FILES])
    patch.syspath_prepend(str(RUNNERS))
    told = io.StringIO()
    with np.errstate(), contextlib.redirect_stdout(told):
        runpy.run_path(str(RUNNERS / "check.py"), run_name="__main__")
    return told.getvalue().splitlines()[-1]


@pytest.mark.parametrize(("runner", "which"), WAYS)
def test_a_right_attention_passes_and_a_wrong_one_gets_its_name(
    runner: str, which: str, request: pytest.FixtureRequest
) -> None:
    """Alone: nothing else explains as many failures."""
    counts, _, named = last_line(runner, which, request).partition(" wrong")
    right, wrong = (int(word) for word in counts.replace(" right,", "").split())
    assert right > 60
    assert (wrong > 0) == (which != "right")
    assert named.split() == ([] if which == "right" else [which])


@pytest.mark.parametrize("runner", sorted(NAMED))
def test_a_runner_has_less_than_eighty_lines(runner: str) -> None:
    assert len((RUNNERS / runner).read_text(encoding="utf-8").splitlines()) < 80
