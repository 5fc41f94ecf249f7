"""The command line: verdicts, exit codes, and every kind of bad input with one clear message."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import pytest

from properties.cli import main

HEAD = """
import os, sys, time
import numpy as np
import torch
from torch import nn
from attention import MultiHeadAttention

"""
TRACEBACK = "Traceback (most recent call last)"
SHAPE = ("--profile", "quick", "--only", "shape/output-shape")


def check(*arguments: object) -> tuple[int, str, str]:
    """Run `attention-properties check` here: exit code, output, errors.

    The target has a process of its own all the same.
    """
    with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err:
        code = main(["check", *map(str, arguments)])
    return code, out.getvalue(), err.getvalue()


def program(*arguments: object) -> tuple[int, str, str]:
    """The same in a process, with all that is written to its files and not by it."""
    done = subprocess.run(
        [sys.executable, "-m", "properties", "check", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def quick(*arguments: object) -> tuple[int, str, str]:
    """The same for the shape clauses at profile quick."""
    return check(*arguments, *SHAPE)


@pytest.fixture
def module(tmp_path: Path) -> Path:
    """A file in which each test writes its class, called Wrong."""
    return tmp_path / "wrong.py"


def overriding(module: Path, body: str) -> str:
    """A target whose forward has this body, otherwise the reference."""
    module.write_text(
        HEAD + "class Wrong(MultiHeadAttention):\n    def forward(self, x):\n        " + body
    )
    return f"{module}:Wrong"


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("no_such_package:Attention", "no_such_package"),
        ("math:pi", "pi"),
    ],
)
def test_a_target_that_is_not_there_or_not_attention_cannot_be_asked(
    target: str, said: str
) -> None:
    """Exit code 2 and one message that names what was looked for; `test_targets.py` has all of them."""
    code, out, err = quick(target)
    assert code == 2
    assert said in err
    assert err.startswith("attention-properties: ")
    assert not out


def test_what_goes_wrong_in_a_target_leaves_no_traceback_of_ours(module: Path) -> None:
    """As a program, too: nothing but the message."""
    target = overriding(module, "sys.exit(0)")
    right = module.read_text()
    for text, code, said in (
        (right, 1, "SystemExit"),
        ("raise ValueError('at import')", 2, "at import"),
    ):
        module.write_text(text)
        found, out, err = program(target, *SHAPE)
        assert (found, said in out + err, TRACEBACK in out + err) == (code, True, False)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import no_such_module\n", "no_such_module"),
        ("import sys; sys.exit(3)\n", "SystemExit"),
        (
            HEAD + "class Wrong(MultiHeadAttention):\n"
            "    def __init__(self, d_in, d_out, context_length, dropout, num_heads):\n"
            "        raise RuntimeError('no constructing today')\n",
            "no constructing today",
        ),
        ("import os; os._exit(7)\n", "exit code 7"),
    ],
)
def test_a_file_that_does_not_import_or_construct_cannot_be_asked(
    module: Path, text: str, said: str
) -> None:
    """Exit code 2 and the reason in the file's own terms."""
    module.write_text(text)
    code, _, err = quick(f"{module}:Wrong")
    assert code == 2
    assert said in err


NO_OUTPUT = {
    "raise RuntimeError('today not')": "today not",
    "return None, 'no tensor'": "a tuple (NoneType, str)",
    "return super().forward(x).detach().numpy()": "numpy ndarray",
    "return super().forward(x)[0]": "expected an output of shape",
    "return super().forward(x).long()": "torch.int64",
    "sys.exit(0)": "SystemExit",
}


def test_a_forward_that_gives_no_attention_output_fails_its_first_clause(module: Path) -> None:
    """Exit code 1, and shape/output-shape says what came; of every class in the file."""
    classes = (
        f"class Wrong{n}(MultiHeadAttention):\n    def forward(self, x):\n        {body}\n"
        for n, body in enumerate(NO_OUTPUT)
    )
    module.write_text(HEAD + "\n\n".join(classes))
    code, out, _ = quick(module)
    assert code == 1
    text = " ".join(out.split())
    for n, said in enumerate(NO_OUTPUT.values()):
        told = text.partition(f"Wrong{n} (multihead) not right")[2].partition("Wrong")[0]
        assert "shape/output-shape" in told
        assert said in told


def test_a_forward_that_prints_does_not_disturb_the_report(module: Path, tmp_path: Path) -> None:
    """What it prints is counted in a note; the JSON report stays readable."""
    report = tmp_path / "report.json"
    target = overriding(
        module, "print('noise'); os.system('echo noise'); return super().forward(x)"
    )
    code, out, err = program(target, *SHAPE, "--json", report)
    assert code == 0
    assert "noise" not in out + err
    assert "printed" in out
    assert json.loads(report.read_text())["reports"][0]["conforms"]


@pytest.mark.parametrize("place", ["", "class Wrong(MultiHeadAttention):\n    "])
def test_a_process_that_ends_as_if_all_were_well_is_told(
    module: Path, tmp_path: Path, place: str
) -> None:
    """Exit code 0 of the subject is no verdict, and no badge."""
    dies = "os._exit(0) if self.training and self.dropout.p else None; return super().forward(x)"
    body = f"def forward(self, x): {dies}" if place else "os._exit(0)"
    module.write_text(f"{HEAD}class Right(MultiHeadAttention):\n    pass\n\n\n{place}{body}\n")
    badge = tmp_path / "badge.json"
    only = ("--profile", "quick", "--only", "dropout/keeps-the-shape")
    code, out, err = check(module, "--badge", badge, *only)
    assert code == 2
    assert "ended the process" in out + err
    assert ("Right (multihead) right" in out) is bool(place)
    assert not badge.exists() or json.loads(badge.read_text())["message"] == "no verdict"


def test_a_subject_that_was_refused_is_told_after_another_ended_the_process(module: Path) -> None:
    """A second process starts where the first one was lost, and forgets nothing."""
    module.write_text(
        HEAD + "from attention import CausalAttention\n\n\n"
        "class Causal(CausalAttention):\n    pass\n\n\n"
        "class Wrong(MultiHeadAttention):\n    def forward(self, x):\n"
        "        os._exit(5) if self.training and self.dropout.p else None\n"
        "        return super().forward(x)\n"
    )
    module.with_name("w.toml").write_text(
        '[[waiver]]\nclause = "heads/one-head-equals-causal"\nreason = "known"\n'
        f'subject = "{module}:Causal"\ncounterexample = {{ x = 1 }}\n'
    )
    options = ("--only", "dropout/keeps-the-shape", "--waivers", module.with_name("w.toml"))
    code, out, err = check(module, "--profile", "quick", *options)
    assert code == 2
    assert "is not asked of" in err
    assert "exit code 5" in out


def test_a_forward_that_never_returns_is_ended(module: Path) -> None:
    """--timeout ends it; the message says while doing what."""
    code, _, err = quick(overriding(module, "time.sleep(1000)"), "--timeout", "6")
    assert code == 2
    assert "did not return within 6 s" in err


@pytest.mark.parametrize(
    ("death", "said"),
    [
        ("os._exit(5)", "exit code 5"),
        ("os.kill(os.getpid(), 11)", "SIGSEGV"),
        ("time.sleep(1000)", "did not return within"),
    ],
)
def test_what_one_clause_does_to_the_process_leaves_the_others_their_verdict(
    module: Path, death: str, said: str
) -> None:
    """A module that dies in training alone is an error there; clauses of eval still pass."""
    when = "self.training and self.dropout.p and x.shape[1] > 3"
    body = f"{death} if {when} else None; return super().forward(x)"
    only = ("dropout/survivors-are-exactly-scaled", "weights/rows-sum-to-one")
    code, out, _ = check(
        overriding(module, body), "--profile", "quick", "--timeout", "15", "-v", "--only", *only
    )
    assert code == 2
    assert "ERROR dropout/" in out
    assert said in out
    assert re.search(r"pass .*weights/rows-sum-to-one", out)


def test_several_classes_are_each_reported_and_the_worst_counts(module: Path) -> None:
    """Without a name every attention class is checked, and what is none is named."""
    module.write_text(
        HEAD + "class Right(MultiHeadAttention):\n    pass\n\n"
        "class LeakyAttention(MultiHeadAttention):\n"
        "    def forward(self, x):\n        return super().forward(x)[..., :1]\n\n"
        "class FeedForward(nn.Module):\n    def forward(self, x): return x\n"
    )
    code, out, _ = quick(module)
    assert code == 1
    assert re.search(r"Right \(multihead\) right", out)
    assert re.search(r"LeakyAttention \(multihead\) not right", out)
    assert "FeedForward" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--only", "weights/rows-sum-to-two"), "weights/rows-sum-to-one"),
        (("--profile", "slow"), "quick, ci, thorough"),
        (("--family", "sideways"), "multihead"),
        (("--json", "no/such/folder/report.json"), "existing folder"),
    ],
)
def test_an_option_that_means_nothing_is_refused(arguments: tuple[str, ...], said: str) -> None:
    """Exit code 2, with what it could have been."""
    code, _, err = check("attention:CausalAttention", *arguments)
    assert code == 2
    assert said in err


@pytest.mark.parametrize("timeout", ["0", "-1", "soon", "inf", "nan"])
def test_a_timeout_is_a_positive_number(timeout: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Anything else is refused before the work."""
    with pytest.raises(SystemExit) as refusal:
        main(["check", "attention", "--timeout", timeout])
    assert refusal.value.code == 2
    assert "number of seconds above 0" in capsys.readouterr().err


def test_the_same_seed_gives_the_same_report(module: Path, tmp_path: Path) -> None:
    """Verdict, counterexample and margins are the same, however many are asked at once; only seconds
    differ.
    """
    overriding(module, "return super().forward(x) + x.mean(dim=1, keepdim=True).mean()")
    with module.open("a") as file:
        file.write("\n\nclass Another(MultiHeadAttention):\n    pass\n")
    told = []
    for name, jobs in (("first.json", 1), ("second.json", 2)):
        only = ("causality/future-does-not-change-past", "oracle/output-within-bound")
        asked = ("--profile", "quick", "--seed", "3", "--jobs", jobs, "--only", *only)
        check(module, "--json", tmp_path / name, *asked)
        reports = json.loads((tmp_path / name).read_text())["reports"]
        for report in reports:
            report.pop("seconds")
            for result in report["results"]:
                result.pop("seconds")
        told.append(reports)
    assert told[0] == told[1]
    assert sorted(bool(report["failed"]) for report in told[0]) == [False, True]


def test_clauses_lists_every_clause_and_is_readable_at_80_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each id whole beside its level, and below it the requirement in lines of ordinary length."""
    from properties.spec.clause import clauses

    monkeypatch.setenv("COLUMNS", "80")
    assert main(["clauses"]) == 0
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert max(map(len, lines)) <= 80
    for clause in clauses().values():
        start = lines.index(f"{clause.level:<6}  {clause.id}") + 1
        below = " ".join(line.strip() for line in lines[start : start + 3])
        assert below.startswith(clause.requirement)


def test_explain_prints_one_clause_and_suggests_another_for_a_typo(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The section as it stands in SPEC.md, or near ids."""
    assert main(["explain", "weights/rows-sum-to-one"]) == 0
    assert "**MUST** The attention weights of every query sum to one." in capsys.readouterr().out
    assert main(["explain", "weights/rows-sum-to-two"]) == 2
    assert "weights/rows-sum-to-one" in capsys.readouterr().err
    assert main(["explain", "weights"]) == 2
    assert "area" in capsys.readouterr().err


def test_the_text_of_the_specification_needs_no_torch() -> None:
    """`clauses`, and what `explain` says first, are read from SPEC.md: loading torch takes a second."""
    code = (
        "import sys; from properties.cli import main; main(['clauses'])\n"
        "from properties.reports.specified import section; section('weights/rows-sum-to-one')\n"
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=False)
    assert done.returncode == 0
