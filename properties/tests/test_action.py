"""What runs in the CI of others: the GitHub action's steps, and the pre-commit hook."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
STUB = '#!/bin/sh\nprintf "%s\\n" "$@" > "$RUNNER_TEMP/arguments"\nexit "$CODE"\n'


def run_check(folder: Path, code: int, **inputs: str) -> tuple[int, list[str], dict[str, str]]:
    """The action's second step as a runner starts it, around a command that only notes its
    arguments: the step's exit code, those arguments, and the outputs.
    """
    (step,) = (step for step in ACTION["runs"]["steps"] if step.get("id") == "check")
    command = folder / "bin" / "attention-properties"
    command.parent.mkdir()
    command.write_text(STUB)
    command.chmod(0o755)
    values = {name: found.get("default", "") for name, found in ACTION["inputs"].items()} | inputs
    variables = {
        name: re.sub(r"\$\{\{ inputs\.(\w+) \}\}", lambda match: values[match[1]], text)
        for name, text in step["env"].items()
    }
    path = f"{command.parent}{os.pathsep}{os.environ['PATH']}"
    known = {"RUNNER_TEMP": str(folder), "GITHUB_OUTPUT": str(folder / "out"), "CODE": str(code)}
    shell = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
    environment = {**os.environ, "PATH": path, **known, **variables}
    done = subprocess.run(shell, env=environment, check=False, timeout=60)
    lines = (folder / "out").read_text().splitlines()
    outputs = dict(line.split("=", 1) for line in lines)
    return done.returncode, (folder / "arguments").read_text().splitlines(), outputs


@pytest.mark.parametrize(("code", "verdict"), [(0, "conforms"), (1, "fails"), (2, "unasked")])
def test_the_action_ends_as_the_check_does_and_says_how(
    tmp_path: Path, code: int, verdict: str
) -> None:
    """Outputs are set however it ends; every one that is declared is."""
    ended, arguments, outputs = run_check(tmp_path, code, target="a.py:A")
    assert (ended, outputs["verdict"]) == (code, verdict)
    assert set(outputs) == set(ACTION["outputs"])
    assert arguments[:6] == ["check", "a.py:A", "--profile", "ci", "--seed", "0"]
    assert "--waivers" not in arguments
    assert outputs["badge"] == arguments[arguments.index("--badge") + 1]


def test_the_action_hands_its_inputs_on_whole_and_runs_none_of_them(tmp_path: Path) -> None:
    """Blanks, quotes and commands in them are text."""
    _, arguments, _ = run_check(tmp_path, 0, target='my dir/$(touch x)";.py:A', waivers="my w.toml")
    assert arguments[1] == 'my dir/$(touch x)";.py:A'
    assert arguments[arguments.index("--waivers") + 1] == "my w.toml"


def test_the_actions_inputs_are_used_and_its_steps_take_no_other() -> None:
    """In composite steps an expression for an input that is not declared is empty, silently."""
    used = set(re.findall(r"inputs\.(\w+)", (ROOT / "action.yml").read_text(encoding="utf-8")))
    assert used == set(ACTION["inputs"])
    assert all(step["shell"] == "bash" for step in ACTION["runs"]["steps"])


def test_the_hook_runs_a_command_that_the_package_installs() -> None:
    """Once for its target, not once for each changed file."""
    hooks: list[dict[str, Any]] = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    (hook,) = hooks
    assert hook["entry"].split()[0] in scripts
    assert hook["pass_filenames"] is False
