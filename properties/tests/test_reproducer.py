"""A failure's script fails by itself on what is wrong, and passes on what is right."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from contextlib import redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch

from properties.cases.strategies import pinned_cases
from properties.cli import main
from properties.findings.scripts import head, script
from properties.findings.scripts.script import Script
from properties.recognition.targets import find
from properties.reports import reproducer
from properties.runs.result import Report, Result, Status
from properties.runs.runner import Run, quiet_and_repeatable
from properties.spec.clause import clauses
from properties.spec.profiles import PROFILES
from properties.zoo.faults import faults, plain

UNREDUCED = replace(PROFILES["quick"], reduction=0)
SAMPLE = {
    "mask-result-discarded": "causality/future-does-not-change-past",
    "mask-shows-the-next-token": "weights/hidden-exactly-zero",
    "scale-by-d-out": "weights/log-odds-are-scaled-score-differences",
    "softmax-over-queries": "weights/rows-sum-to-one",
    "view-without-transpose": "heads/split-equals-per-head-matmul",
    "merge-without-transpose": "oracle/output-within-bound",
    "value-columns-shifted": "oracle/output-within-bound",
    "sum-for-the-mean": "context/constant-values-pass-through",
    "context-length-of-one-broadcasts": "error/context-of-one-token",
    "output-in-float32": "shape/dtype-preserved",
    "single-item-changed-in-place": "state/input-untouched",
    "calls-are-counted": "state/forward-is-pure",
    "head-dim-kept-with-the-class": "state/instances-share-nothing",
    "out-projection-not-loaded": "state/state-dict-round-trip",
    "copy-loses-its-mask": "state/deepcopy",
    "mask-keeps-its-first-dtype": "state/dtype-move-takes-the-mask-along",
    "mapped-items-share-a-buffer": "transform/vmap-equals-loop",
    "columns-are-cut": "error/wrong-d_in",
    "wrapper-heads-are-one-module": "heads/heads-have-their-own-weights",
    "head-dim-rounded-down": "error/indivisible-heads",
    "dropout-not-checked": "error/dropout-out-of-range",
    "error-without-numbers": "error/messages-name-the-numbers",
    "refused-length-lifts-the-mask": "error/refusing-changes-nothing",
    "backward-of-scores-halved": "gradient/gradcheck",
    "weights-detached": "oracle/gradient-within-bound",
    "dropout-in-eval": "dropout/inert-in-eval",
    "dropout-unscaled": "dropout/survivors-are-exactly-scaled",
    "dropout-shared-by-heads": "dropout/independent-over-heads",
    "dropout-rate-off-by-two-percent": "dropout/survival-rate",
    "dropout-reseeds": "dropout/reproducible-under-manual-seed",
}
"""A fault of every area, and a clause that it breaks."""


def failing(name: str, clause: str) -> Script | None:
    """The script for a fault's failure of a clause."""
    fault = faults()[name]
    run = Run(find(fault.module, fault.family)[0], [clauses()[clause]], UNREDUCED, 0)
    tallies = run.tallies()
    with quiet_and_repeatable(), redirect_stdout(StringIO()):
        run.go(tallies)
        case = tallies[clause].case
        assert case is not None
        return script(clauses()[clause], case)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "clause"), SAMPLE.items())
def test_a_script_fails_on_the_fault_and_passes_on_the_module_it_changes(
    name: str, clause: str
) -> None:
    """The same text, with another class behind its one name for it."""
    found = failing(name, clause)
    assert found is not None
    module = faults()[name].module
    right = next(base for base in module.__mro__ if base.__module__ == plain.__name__)
    with torch.random.fork_rng(devices=[]):
        with pytest.raises(AssertionError):
            found.run(module)
        found.run(right)


def test_a_script_imports_torch_and_the_class_and_nothing_else() -> None:
    """Nothing of this suite, no NumPy, no Hypothesis."""
    found = failing("scale-by-d-out", "oracle/output-within-bound")
    assert found is not None
    tree = ast.parse(found.written('"""A head."""'))
    imported = [
        name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [node.module] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
        )
    ]
    assert set(imported) <= {"__future__", "sys", "torch", "properties.zoo.faults.scale"}


def executed(path: Path) -> tuple[int, str]:
    """Run a script in a process of its own, far from this checkout: exit code, all it says."""
    done = subprocess.run(
        [sys.executable, "-P", str(path)],
        cwd=path.parent,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


LEAKY = Path(__file__).parents[2] / "docs" / "leaky.py"
ARGUMENTS = ("--profile", "quick", "--only", "causality/future-does-not-change-past")


def test_the_command_writes_a_script_that_runs_by_itself(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 1 and a message on the class; 0 once its file is corrected."""
    model = tmp_path / "model.py"
    model.write_text(LEAKY.read_text())
    folder = tmp_path / "scripts" / "here"
    assert main(["check", str(model), *ARGUMENTS, "--repro", str(folder)]) == 1
    (path,) = folder.iterdir()
    assert path.name == "causality-future-does-not-change-past.py"
    assert f"script    {path}" in capsys.readouterr().out
    code, said = executed(path)
    assert code == 1
    assert re.search(r"AssertionError: expected .* got ", said)
    model.write_text(LEAKY.read_text().replace("masked_fill(", "masked_fill_("))
    assert executed(path) == (0, "holds\n")


def test_a_notebooks_definitions_stand_in_its_script(tmp_path: Path) -> None:
    """What the class needs of the notebook, and nothing that only ran in it."""
    cells = [
        "%matplotlib inline\nimport math\nimport torch\nfrom torch import nn",
        "def scale(x):\n    return x / math.sqrt(2)",
        "class LeakyAttention(nn.Module):\n"
        "    def __init__(self, d_in, d_out):\n"
        "        super().__init__()\n"
        "        self.W_query = nn.Linear(d_in, d_out, bias=False)\n"
        "        self.W_key = nn.Linear(d_in, d_out, bias=False)\n"
        "        self.W_value = nn.Linear(d_in, d_out, bias=False)\n\n"
        "    def forward(self, x):\n"
        "        scores = scale(self.W_query(x) @ self.W_key(x).transpose(-1, -2))\n"
        "        return scores.softmax(-1) @ self.W_value(x)",
        "print('training'); x = torch.rand(3)\ndef unused(): pass",
    ]
    document = {"cells": [{"cell_type": "code", "source": source} for source in cells]}
    notebook = tmp_path / "study.ipynb"
    notebook.write_text(json.dumps(document))
    clause = clauses()["weights/log-odds-are-scaled-score-differences"]
    run = Run(find(str(notebook))[0], [clause], UNREDUCED, 0, scripts=True)
    (text,) = (result.script for result in run.report().results)
    assert "def scale(x)" in text  # there is a text only if it has failed in a new process
    assert "unused" not in text
    assert "training" not in text


def test_a_constructor_that_raises_on_valid_sizes_is_reproduced(tmp_path: Path) -> None:
    """The script builds the module, and says that it could not be built."""
    model = tmp_path / "model.py"
    model.write_text(
        "from properties.zoo.faults.plain import PlainCausal\n\n\n"
        "class PickyAttention(PlainCausal):\n"
        "    def __init__(self, d_in, d_out, context_length, dropout):\n"
        "        if d_out != 4:\n"
        "            raise ValueError('not today')\n"
        "        super().__init__(d_in, d_out, context_length, dropout)\n"
    )
    clause = clauses()["shape/output-shape"]
    run = Run(find(str(model), "causal")[0], [clause], UNREDUCED, 0, scripts=True)
    (text,) = (result.script for result in run.report().results)
    assert "expected a module for valid sizes" in text


def test_a_failure_without_a_script_is_named_and_several_subjects_have_a_folder_each(
    tmp_path: Path,
) -> None:
    """Nothing is left out without a word."""
    failed: dict[str, Any] = {"level": "MUST", "status": Status.FAIL, "counterexample": {}}
    reports = [
        Report(name, "causal", "quick", 0, [Result("a/b", script=text, **failed)])
        for name, text in (("m.py:One", "print()"), ("m.py:Two", ""))
    ]
    lines = reproducer.write(reports, tmp_path)
    assert lines[0] == f"script    {tmp_path / 'm-py-One' / 'a-b.py'}"
    assert lines[1].startswith("no script a/b: ")
    assert (tmp_path / "m-py-One" / "a-b.py").read_text() == "print()"


def test_a_folder_that_cannot_be_made_is_refused_before_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2 and what to name instead."""
    (tmp_path / "file").touch()
    assert main(["check", str(LEAKY), "--repro", str(tmp_path / "file")]) == 2
    assert "name a folder" in capsys.readouterr().err


def test_what_a_subject_says_cannot_end_the_docstring_of_its_script() -> None:
    """Quotes and backslashes of a message are written as harmless ones."""
    case = pinned_cases(find("attention:CausalAttention")[0])[0]
    text = head(clauses()["shape/output-shape"], case, 'expected a; got """\\N oops"')
    assert isinstance(ast.literal_eval(text), str)
