"""Whatever becomes of a run, what is known of it is printed and written: nothing is lost."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import pytest

from properties.cli import main
from properties.commands import progress
from properties.reports import page

RIGHT = "attention:CausalAttention"
ASKED = ("--profile", "quick", "--only", "shape/output-shape")
HEAD = "import time\nfrom attention import CausalAttention\n\n\nclass Wrong(CausalAttention):\n"


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> object:
    """Run the command line here: exit code, and all that it says, on one line."""

    def run(*arguments: object) -> tuple[int, str]:
        code = main([*map(str, arguments)])
        out, err = capsys.readouterr()
        return code, " ".join(f"{out} {err}".split())

    return run


@pytest.fixture
def wrong(tmp_path: Path) -> str:
    """A target that fails the clause that is asked."""
    file = tmp_path / "wrong.py"
    file.write_text(
        f"{HEAD}    def forward(self, x):\n        return super().forward(x)[..., :1]\n"
    )
    return f"{file}:Wrong"


UNWRITABLE = [
    ("--html", "/proc/x"),
    ("--json", "/dev/full"),
    ("--junit", "file/report.xml"),
    ("--badge", "."),
    ("--statement", "x" * 300),
    ("--repro", "file"),
    ("--json", "one", "--html", "one"),
    ("--json", "one", "--html", "link"),
    ("--json", "one", "--repro", "one"),
    ("--json", "wrong.py"),
    ("--waivers", "file", "--json", "file"),
]


@pytest.mark.parametrize("options", UNWRITABLE, ids=" ".join)
def test_what_cannot_be_written_is_refused_before_the_run(
    told, wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    """Exit code 2, and no file is left where there was none."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to("one")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    start = time.monotonic()
    code, said = told("check", wrong, *ASKED, *options)
    assert code == 2
    assert "FAIL" not in said
    assert options[1][:20] in said
    assert time.monotonic() - start < 10.0
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()} == before


@pytest.mark.parametrize(
    "arguments",
    [
        ("diff", RIGHT, RIGHT, "--json", "/dev/full"),
        ("diff", "a.py:A", RIGHT, "--json", "a.py"),
        ("faults", "--matrix", "/proc/x.svg"),
        ("verify", "/proc/x"),
    ],
    ids=" ".join,
)
def test_other_commands_refuse_files_in_the_same_way(
    told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    """Before any work."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.py").write_text("")
    code, said = told(*arguments)
    assert code == 2
    assert said.startswith("attention-properties: ")


@pytest.mark.parametrize("right", [True, False])
def test_a_file_that_could_not_be_written_costs_no_other(
    told, wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, right: bool
) -> None:
    """Exit code 2, or 1 where a law does not hold."""

    def full(reports: object, path: Path) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(page, "write", full)
    files = {name: tmp_path / name for name in ("json", "html", "junit", "badge")}
    options = [word for name, path in files.items() for word in (f"--{name}", path)]
    code, said = told("check", RIGHT if right else wrong, *ASKED, *options)
    assert code == (2 if right else 1)
    assert f"--html {files['html']} could not be written: No space left on device" in said
    assert json.loads(files["json"].read_text())["reports"][0]["right"] is right
    assert all(files[name].exists() for name in ("junit", "badge"))


def test_standard_output_that_is_full_or_closed_costs_no_file(tmp_path: Path) -> None:
    """Exit code 2 where it is full; a reader that has left wants no more."""
    command = [sys.executable, "-m", "properties", "check", RIGHT, *ASKED, "--json"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*command, tmp_path / "a"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "standard output cannot be written: No space left on device" in line
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [*command, tmp_path / "b"], stdout=write, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(write)
    assert done.returncode == 0
    assert not done.stderr
    for name in "ab":
        assert json.loads((tmp_path / name).read_text())["reports"][0]["right"]


def test_ctrl_c_says_what_is_known_and_writes_it(tmp_path: Path) -> None:
    """Exit code 130, no traceback, and the subjects that were not finished in the files, too."""
    mark, hangs, report = tmp_path / "mark", tmp_path / "hangs.py", tmp_path / "report.json"
    hangs.write_text(
        f"{HEAD}    def forward(self, x):\n        if self.training and self.dropout.p:\n"
        f"            open({str(mark)!r}, 'w').close()\n            time.sleep(1000)\n"
        "        return super().forward(x)\n"
    )
    only = ("--profile", "quick", "--only", "dropout/keeps-the-shape")
    command = ["check", RIGHT, hangs, "no/such.py", *only, "--json", report]
    process = subprocess.Popen(
        [sys.executable, "-m", "properties", *map(str, command)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    end = time.monotonic() + 120.0
    while not mark.exists():
        assert time.monotonic() < end
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"{RIGHT} (causal) right" in out
    (line,) = err.splitlines()
    assert f"interrupted at dropout/keeps-the-shape of {hangs}:Wrong" in line
    assert "1 verdict before that" in line
    reports = json.loads(report.read_text())["reports"]
    assert [each["right"] for each in reports] == [True, False, False]
    assert "interrupted" in reports[1]["notes"][0]


def test_ctrl_c_keeps_what_is_known_where_several_are_asked_at_once(tmp_path: Path) -> None:
    """The one that hangs is ended with its process."""
    file = tmp_path / "two.py"
    file.write_text(
        "import time\nfrom attention import CausalAttention\n\n\n"
        "class First(CausalAttention):\n    pass\n\n\nclass Second(CausalAttention):\n"
        "    def forward(self, x):\n        if self.training and self.dropout.p:\n"
        "            time.sleep(1000)\n        return super().forward(x)\n"
    )
    only = ("--profile", "quick", "--only", "dropout/keeps-the-shape", "--jobs", "2")
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "properties", "check", file, *only],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert "First (causal) right" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "1 verdict before that" in err


def test_ctrl_c_ends_the_faults_with_what_is_known() -> None:
    """Their processes, too, without a word of theirs."""
    names = ("mask-result-discarded", "scale-by-d-out", "scale-absent")
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "properties", "faults", *names, "--jobs", "2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    first = process.stdout.readline()
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does it
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    (line,) = err.splitlines()
    assert "of 3 faults were asked" in line
    assert any(name in first + out for name in names)


def test_several_targets_have_a_verdict_each_and_the_worst_code(
    told, wrong: str, tmp_path: Path
) -> None:
    """Side by side in every file, in a line each at the end; one that is not there costs none."""
    report, suites = tmp_path / "r.json", tmp_path / "r.xml"
    missing, files = str(tmp_path / "missing.py"), ("--json", report, "--junit", suites)
    code, said = told("check", RIGHT, missing, wrong, *ASKED, *files)
    assert code == 1
    ending = said.partition("in short")[2]
    assert f"{RIGHT} (causal) right" in ending
    assert f"{wrong} (causal) not right" in ending
    assert f"{missing} has no verdict" in ending
    assert f"There is no file {missing}" in said
    subjects = [each["subject"] for each in json.loads(report.read_text())["reports"]]
    assert subjects == [RIGHT, wrong, missing]
    assert [s.get("name") for s in ElementTree.parse(suites).getroot()] == subjects
    again = said.partition("again attention-properties ")[2].partition(" explain ")[0]
    code, said = told(*shlex.split(again))
    assert code == 1
    assert "FAIL shape/output-shape" in said
    code, _ = told("check", RIGHT, missing, *ASKED)
    assert code == 2


def test_the_version_is_told_without_loading_torch() -> None:
    """Of the package, the specification, and what a verdict depends on."""
    program = (
        "import sys\nfrom properties.cli import main\ntry: main(['--version'])\n"
        "except SystemExit as ended: assert not ended.code\nassert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("attention-properties ")
    assert "specification 1." in done.stdout
    assert ", torch 2." in done.stdout


def test_progress_is_shown_on_a_terminal_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the time that is left."""
    for terminal in (False, True):
        if terminal:
            monkeypatch.setenv("FORCE_COLOR", "1")
            monkeypatch.setenv("COLUMNS", "120")
        with progress.shown("target") as tell:
            tell("subject", "shape/output-shape", 3, 31)
        err = capsys.readouterr().err
        assert ("left, shape/output-shape" in err) is terminal
        assert ("subject" in err) is terminal
