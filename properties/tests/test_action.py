"""What runs in the CI of others and in ours: the GitHub action's steps, the pre-commit hook, the
workflow.
"""

from __future__ import annotations

import configparser
import os
import re
import shlex
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from properties.cli import parser

ROOT = Path(__file__).parents[2]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
WORKFLOW = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
CONSTRAINTS = ROOT / "constraints.txt"
(TORCH,) = re.findall("^torch==.*", CONSTRAINTS.read_text(), re.MULTILINE)
NOTES = '#!/bin/sh\nprintf "%s\\n" "$@" >> "$NOTED"\n'
CHECK = f"""{NOTES}
echo 'the first line'
echo '::error::an annotation'
while [ $# -gt 0 ]; do
  if [ "$1" = --badge ]; then echo '{{"message": "right in part"}}' > "$2"; fi
  shift
done
exit "$CODE"
"""


@dataclass(frozen=True)
class Ended:
    """What became of a step: its exit code, the arguments that its command got, the outputs that it
    set, and its part of the job's summary.
    """

    code: int
    arguments: list[str]
    outputs: dict[str, str]
    summary: str


def run_step(name: str, folder: Path, stubs: dict[str, str], code: int = 0, **inputs: str) -> Ended:
    """A step of the action as a runner starts it; the commands in `stubs` only note what they get."""
    (step,) = (step for step in ACTION["runs"]["steps"] if step["name"] == name)
    for command, script in stubs.items():
        path = folder / "bin" / command
        path.parent.mkdir(exist_ok=True)
        path.write_text(script)
        path.chmod(0o755)
    values = {name: found.get("default", "") for name, found in ACTION["inputs"].items()} | inputs
    variables = {
        name: re.sub(r"\$\{\{ inputs\.(\w+) \}\}", lambda match: values[match[1]], text)
        for name, text in step["env"].items()
    }
    files = {"NOTED": "noted", "GITHUB_OUTPUT": "outputs", "GITHUB_STEP_SUMMARY": "summary"}
    for file in files.values():
        (folder / file).touch()
    known = {name: str(folder / file) for name, file in files.items()}
    known |= {"RUNNER_TEMP": str(folder), "GITHUB_ACTION_PATH": str(ROOT), "CODE": str(code)}
    parts = (folder / "bin", Path(sys.executable).parent, os.environ["PATH"])
    path = os.pathsep.join(map(str, parts))
    shell = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
    environment = {**os.environ, "PATH": path, **known, **variables}
    done = subprocess.run(shell, env=environment, check=False, timeout=120)
    noted, outputs, summary = ((folder / file).read_text() for file in files.values())
    found = dict(line.split("=", 1) for line in outputs.splitlines())
    return Ended(done.returncode, noted.splitlines(), found, summary)


def run_check(folder: Path, code: int = 0, **inputs: str) -> Ended:
    """The step that asks, around a command that says that the target is right in part."""
    return run_step("Check", folder, {"attention-properties": CHECK}, code, **inputs)


@pytest.mark.parametrize("code", [0, 1, 2])
def test_the_action_ends_as_the_check_does_and_sets_every_output(tmp_path: Path, code: int) -> None:
    """However it ends."""
    ended = run_check(tmp_path, code, target="a.py:A")
    assert ended.code == code
    assert set(ended.outputs) == set(ACTION["outputs"])
    assert ended.arguments[:6] == ["check", "a.py:A", "--profile", "ci", "--seed", "0"]
    assert not {"--waivers", "--strict"} & set(ended.arguments)
    assert ended.outputs["badge"] == ended.arguments[ended.arguments.index("--badge") + 1]


def test_the_action_says_what_the_badge_says_and_nothing_of_what_was_not_asked(
    tmp_path: Path,
) -> None:
    """In part is no less than that, in the output and in the job's summary."""
    asked, unasked = run_check(tmp_path, 0), run_check(tmp_path, 2)
    assert asked.outputs["verdict"] == "right in part"
    assert unasked.outputs["verdict"] == "could not be asked"
    assert asked.summary == "### Attention: right in part\n```text\nthe first line\n```\n"


def test_the_actions_summary_is_the_verdict_of_the_check(tmp_path: Path) -> None:
    """The command itself, on a subject that is soon asked."""
    ended = run_step(
        "Check", tmp_path, {}, target="attention:SimplifiedSelfAttention", profile="quick"
    )
    assert ended.code == 0
    assert f"### Attention: {ended.outputs['verdict']}\n```text\n" in ended.summary
    assert "attention:SimplifiedSelfAttention (plain)" in ended.summary
    assert all(Path(ended.outputs[name]).stat().st_size for name in ("badge", "junit", "json"))


def test_the_action_hands_on_what_the_command_takes(tmp_path: Path) -> None:
    """Strictness only where it is asked for."""
    inputs = {"target": "a.py:A", "waivers": "w.toml", "strict": "true"}
    options = parser().parse_args(run_check(tmp_path, **inputs).arguments)
    assert options.strict
    assert options.waivers == Path("w.toml")


@pytest.mark.parametrize("python", ["3.12", ""])
def test_the_action_constrains_the_python_that_it_sets_up_and_no_other(
    tmp_path: Path, python: str
) -> None:
    """The torch of a job that has set up its own is the one that its users run."""
    noted = run_step("Install", tmp_path, {"python": NOTES}, python=python).arguments
    assert noted[-1] == str(ROOT)
    assert (TORCH in noted) is ("--constraint" in noted) is bool(python)
    if python:
        assert Path(noted[noted.index("--constraint") + 1]).samefile(CONSTRAINTS)
    set_up = ACTION["runs"]["steps"][0]
    assert set_up["if"] == "inputs.python != ''"
    assert set_up["with"] == {"python-version": "${{ inputs.python }}"}


def test_the_action_hands_its_inputs_on_whole_and_runs_none_of_them(tmp_path: Path) -> None:
    """Blanks, quotes and commands in them are text."""
    inputs = {"target": 'my dir/$(touch x)";.py:A', "waivers": "my w.toml"}
    arguments = run_check(tmp_path, **inputs).arguments
    assert arguments[1] == 'my dir/$(touch x)";.py:A'
    assert arguments[arguments.index("--waivers") + 1] == "my w.toml"


def test_the_actions_inputs_are_used_and_its_steps_take_no_other() -> None:
    """In composite steps an expression for an input that is not declared is empty, silently."""
    used = set(re.findall(r"inputs\.(\w+)", (ROOT / "action.yml").read_text(encoding="utf-8")))
    assert used == set(ACTION["inputs"])
    assert all(step["shell"] == "bash" for step in ACTION["runs"]["steps"] if "run" in step)


def test_the_hook_runs_a_command_that_the_package_installs() -> None:
    """Once for its target, not once for each changed file."""
    hooks: list[dict[str, Any]] = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    (hook,) = hooks
    assert hook["entry"].split()[0] in scripts
    assert hook["pass_filenames"] is False


def test_readme_names_the_torch_that_is_tested() -> None:
    """Another one is put in its place by the constraints, in its build of several gigabytes."""
    named = re.findall(r"pip install (torch\S*) --index-url", (ROOT / "README.md").read_text())
    assert named == [TORCH]


def test_the_workflow_runs_every_environment_of_tox() -> None:
    """By the script that runs them all."""
    job = WORKFLOW["jobs"]["tox"]
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini")
    listed = tox["tox"]["env_list"].replace("py3{11,12,13}", "py311, py312, py313")
    assert job["strategy"]["matrix"]["env"] == listed.split(", ")
    script, *options = shlex.split(job["steps"][-1]["run"].replace("${{ matrix.env }}", "lint"))
    assert os.access(ROOT / script, os.X_OK)
    assert options == ["-e", "lint"]


def test_the_workflow_gives_the_action_the_inputs_that_it_has() -> None:
    """All that it needs among them, on a target that is here."""
    (step,) = (step for step in WORKFLOW["jobs"]["action"]["steps"] if step.get("uses") == "./")
    needed = {name for name, found in ACTION["inputs"].items() if found.get("required")}
    assert needed <= set(step["with"]) <= set(ACTION["inputs"])
    assert step["with"]["target"] == "attention:MultiHeadAttention"


def test_actions_of_others_are_pinned_to_a_major_version() -> None:
    """Neither a branch, which may become anything, nor nothing."""
    jobs = WORKFLOW["jobs"].values()
    steps = [*ACTION["runs"]["steps"], *(step for job in jobs for step in job["steps"])]
    used = {step["uses"] for step in steps if "uses" in step} - {"./"}
    assert used
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@v\d+", name) for name in used)
