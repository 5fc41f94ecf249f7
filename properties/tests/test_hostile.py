"""What a subject does to its process: it is told where that happened, and nothing else is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import properties
from properties.cli import main
from properties.runs.result import Status

HEAD = """
import ctypes, os, signal, subprocess, sys, time
from attention import MultiHeadAttention

class Stop(BaseException): pass

"""
CONSTRUCTOR = "def __init__(self, d_in, d_out, context_length, dropout, num_heads, qkv_bias=False):"
ARGUMENTS = "d_in, d_out, context_length, dropout, num_heads, qkv_bias"
ONLY = ("--profile", "quick", "--only")


def hostile(folder: Path, place: str, deed: str, name: str = "Wrong") -> str:
    """A target that is the reference, but for a deed at import, in construction or in forward."""
    file = folder / f"{name.lower()}.py"
    at = {"import": "pass", "construction": "pass", "forward": "pass", place: deed}
    file.write_text(
        f"{HEAD}{at['import']}\n\n\nclass {name}(MultiHeadAttention):\n"
        f"    {CONSTRUCTOR}\n        {at['construction']}\n        super().__init__({ARGUMENTS})\n\n"
        f"    def forward(self, x):\n        {at['forward']}\n        return super().forward(x)\n"
    )
    return f"{file}:{name}"


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> object:
    """Run the command line here: exit code, and all that it says, on one line."""

    def run(*arguments: object) -> tuple[int, str]:
        code = main([*map(str, arguments)])
        out, err = capsys.readouterr()
        return code, " ".join(f"{out} {err}".split())

    return run


DEEDS = {
    "os._exit(0)": "ended the process with exit code 0",
    "os.kill(os.getpid(), signal.SIGKILL)": "killed the process by SIGKILL",
    "time.sleep(1000)": "did not return within 3 s",
    "os.fork()": "called os.fork",
}
PLACES = {
    "import": "while importing",
    "construction": "while constructing Wrong",
    "forward": "in a trial of forward",
}


@pytest.mark.parametrize(
    ("deed", "place"),
    [
        *(("os._exit(0)", place) for place in PLACES),
        ("os.kill(os.getpid(), signal.SIGKILL)", "construction"),
        ("time.sleep(1000)", "forward"),
        ("os.fork()", "import"),
    ],
)
def test_what_ends_a_process_before_any_clause_is_told_with_its_place(
    told, tmp_path: Path, deed: str, place: str
) -> None:
    """Exit code 2, whatever code the subject chose. What happened is told and then where, each in its
    own words: every deed and every place, not every pair.
    """
    target = hostile(tmp_path, place, deed)
    code, said = told("check", target, *ONLY, "shape/output-shape", "--timeout", 3)
    assert code == 2
    assert f"{target} {DEEDS[deed]} {PLACES[place]}" in said
    assert "nothing was checked" in said


@pytest.mark.parametrize("deed", ["os._exit(0)", "time.sleep(1000)", "os.fork()"])
def test_what_ends_a_process_in_a_clause_is_told_with_it(told, tmp_path: Path, deed: str) -> None:
    """An error of that clause: exit code 2."""
    target = hostile(tmp_path, "forward", f"{deed} if self.training and self.dropout.p else None")
    code, said = told("check", target, *ONLY, "dropout/keeps-the-shape", "--timeout", 3)
    assert code == 2
    assert "ERROR dropout/keeps-the-shape" in said
    assert f"{DEEDS[deed]} in forward" in said


RAISED = ["raise Stop('no')", "raise KeyboardInterrupt('no')", "raise SystemExit('no')"]


@pytest.mark.parametrize(
    ("place", "expected"), [("import", 0), ("construction", 2), ("forward", 1)]
)
def test_no_exception_ends_a_process(told, tmp_path: Path, place: str, expected: int) -> None:
    """At import its line is passed over and named, in construction it cannot be asked; in forward it
    fails its first clause. One class for each stands in one file: the next one is asked all the same.
    """
    each = [hostile(tmp_path, place, deed, f"Wrong{n}") for n, deed in enumerate(RAISED)]
    file = tmp_path / "all.py"
    file.write_text("\n\n".join(Path(target.partition(":")[0]).read_text() for target in each))
    code, said = told("check", file, *ONLY, "shape/output-shape")
    assert code == expected, said
    for deed in RAISED:
        kind = deed.partition(" ")[2].partition("(")[0]
        assert f"{kind}: no" in said
    assert said.count("FAIL shape/output-shape") == (len(RAISED) if place == "forward" else 0)


def test_an_interrupt_that_the_subject_sends_itself_is_no_ones_ctrl_c(told, tmp_path: Path) -> None:
    """The worker takes none."""
    target = hostile(tmp_path, "forward", "os.kill(os.getpid(), signal.SIGINT)")
    code, said = told("check", target, *ONLY, "shape/output-shape")
    assert code == 0, said


def test_one_that_ends_the_process_leaves_the_others_their_verdict(told, tmp_path: Path) -> None:
    """In the same file, before and after it; all of them are in the files that are written."""
    hostile(tmp_path, "forward", "os._exit(0)")
    file, report = tmp_path / "wrong.py", tmp_path / "report.json"
    text = file.read_text()
    file.write_text(
        text.replace("class Wrong", "class Before(MultiHeadAttention): pass\n\n\nclass Wrong")
        + "\n\nclass After(MultiHeadAttention): pass\n"
    )
    code, said = told("check", file, *ONLY, "shape/output-shape", "--json", report)
    assert code == 2
    assert f"{file}:Wrong ended the process with exit code 0 in a trial of forward" in said
    reports = json.loads(report.read_text())["reports"]
    assert {(each["subject"].partition(":")[2], each["conforms"]) for each in reports} == {
        ("Before", True),
        ("After", True),
        ("Wrong", False),
    }


def test_copies_made_by_compiled_code_end_at_once(told, tmp_path: Path) -> None:
    """They say nothing, and do not go on to make more."""
    target = hostile(tmp_path, "forward", "ctypes.CDLL(None).fork()")
    code, said = told("check", target, *ONLY, "shape/output-shape")
    assert code == 0, said
    assert said.count("laws hold") == 1


def is_alive(process: int) -> bool:
    """Whether a process is there and more than a zombie."""
    status = Path(f"/proc/{process}/stat")
    try:
        return status.read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(holds, seconds: float = 20.0) -> None:
    """Fail unless it holds soon."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_what_a_subject_starts_is_ended_with_it(told, tmp_path: Path) -> None:
    """The worker's session is its own, and is ended as a whole."""
    mark = tmp_path / "started"
    deed = f"open({str(mark)!r}, 'w').write(str(subprocess.Popen(['sleep', '600']).pid))"
    code, said = told("check", hostile(tmp_path, "import", deed), *ONLY, "shape/output-shape")
    assert code == 0, said
    started = int(mark.read_text())
    wait_until(lambda: not is_alive(started))


def test_a_worker_ends_when_nobody_is_left_to_hear_it(tmp_path: Path) -> None:
    """Though it hangs, and though it cannot be told."""
    mark = tmp_path / "started"
    deed = f"open({str(mark)!r}, 'w').write(str(os.getpid())); time.sleep(1000)"
    target = hostile(tmp_path, "import", deed)
    parent = subprocess.Popen([sys.executable, "-m", "properties", "check", target])
    wait_until(lambda: mark.exists() and mark.read_text(), 60.0)
    worker = int(mark.read_text())
    assert is_alive(worker)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    wait_until(lambda: not is_alive(worker))


@pytest.mark.parametrize("deed", RAISED)
def test_in_this_process_every_exception_of_forward_is_the_subjects(
    tmp_path: Path, deed: str
) -> None:
    """`check` reports it, as the command line does."""
    target = hostile(tmp_path, "forward", deed)
    report = properties.check(target, profile="quick", only=["shape/output-shape"])
    (result,) = report.results
    assert result.status is Status.FAIL
    assert ": no at" in result.message


@pytest.mark.parametrize("place", PLACES)
def test_in_this_process_ctrl_c_is_the_users(tmp_path: Path, place: str) -> None:
    """Told from a KeyboardInterrupt that the subject raises: it comes through."""
    target = hostile(tmp_path, place, f"os.kill({os.getpid()}, signal.SIGINT); time.sleep(1)")
    with pytest.raises(KeyboardInterrupt):
        properties.check(target, profile="quick", only=["shape/output-shape"])


@pytest.mark.parametrize("deed", ["os._exit(0)", "os.fork()", "raise Stop('no')"])
def test_a_comparison_survives_what_a_side_does(told, tmp_path: Path, deed: str) -> None:
    """It is told as what cannot be compared, or as what has changed."""
    target = hostile(tmp_path, "forward", deed)
    code, said = told("diff", "attention:MultiHeadAttention", target, *ONLY, "shape/output-shape")
    if deed in DEEDS:
        assert code == 2
        assert f"{DEEDS[deed]} in a trial of forward; nothing was compared" in said
    else:
        assert code in (1, 2)
        assert "Stop: no" in said
