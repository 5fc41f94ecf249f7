"""One test for each subject and clause: by --attention TARGET, and by properties.parametrize.

Sessions inside this process are quick, but forget on their way out what they imported: what
registers itself is imported here, before them, torch's compiler among it: it cannot be imported twice.
"""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from xml.etree import ElementTree

import pytest

import properties.compare.compare
import properties.reports.comparison
import properties.testing
import properties.zoo.faults
from properties.recognition.targets import find
from properties.runs.runner import run
from properties.runs.waivers import accepted, append
from properties.spec.clause import clauses

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[2]
OPTIONS = ("--attention-profile", "quick", "-p", "no:cacheprovider", "-v", "--strict-markers")
LEAKY = "mask-result-discarded"
CLAUSE = "causality/future-does-not-change-past"
MINE = f"""
import properties
from attention import CausalAttention
from properties.zoo.faults import faults

Leaky = faults()["{LEAKY}"].module

@properties.parametrize(CausalAttention, profile="quick", only=["causality"])
def test_right(check):
    check()

@properties.parametrize(Leaky, profile="quick", only=["causality"])
def test_leaky(check):
    check()
"""


@pytest.fixture(scope="module", autouse=True)
def everything_is_imported() -> None:
    """See above."""
    import_module("torch._dynamo")
    clauses()
    properties.zoo.faults.faults()
    find("torch.nn:MultiheadAttention")


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


def run_here(pytester: pytest.Pytester, *arguments: str) -> tuple[int, str]:
    """Exit code and output of a pytest session in this process."""
    done = pytester.runpytest_inprocess(*OPTIONS, *arguments)
    return int(done.ret), done.stdout.str() + done.stderr.str()


def test_a_right_module_passes_one_test_for_each_clause_chosen(tmp_path: Path) -> None:
    """Installed: ids are subject and slug, the header names target and seed, -k chooses."""
    code, out = pytest_run(
        "--pyargs",
        "properties",
        "--attention",
        "attention:CausalAttention",
        "--hypothesis-seed=7",
        "-k",
        "output-shape or rows-sum",
        cwd=tmp_path,
    )
    assert code == 0, out
    assert "attention: attention:CausalAttention; profile quick, seed 7; python" in out
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


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--attention", "no_such:Thing"), "no_such"),
        (("--attention", "attention:CausalAttention", "--attention-waivers", "no.toml"), "no.toml"),
        (("--attention", "attention:CausalAttention", "--hypothesis-seed", "x"), "an integer"),
    ],
)
def test_what_cannot_be_asked_is_a_usage_error(
    pytester: pytest.Pytester, options: tuple[str, ...], said: str
) -> None:
    """Exit code 4 or 2, and the message of the command line."""
    code, out = run_here(pytester, "--pyargs", "properties", *options)
    assert code in (pytest.ExitCode.USAGE_ERROR, pytest.ExitCode.INTERRUPTED)
    assert said in out
    assert "Traceback" not in out


def test_the_verdicts_file_without_a_target_is_a_usage_error(pytester: pytest.Pytester) -> None:
    """Which it is where it is named itself."""
    code, out = run_here(pytester, str(Path(properties.__file__).parent / "test_conformance.py"))
    assert code in (pytest.ExitCode.USAGE_ERROR, pytest.ExitCode.INTERRUPTED)
    assert "--attention TARGET" in out
    assert "Traceback" not in out


def test_marks_choose_by_area_and_level_and_a_waived_clause_is_expected_to_fail(
    pytester: pytest.Pytester,
) -> None:
    """-m "attention_causality and attention_must", with waivers from a file."""
    subject = find(properties.zoo.faults.faults()[LEAKY].module, "multihead")[0]
    failure = run(subject, profile="quick", only=[CLAUSE])
    append(pytester.path / "w.toml", [*accepted([failure], "known")])
    target = pytester.makepyfile(
        target=f"from properties.zoo.faults import faults\nLeaky = faults()['{LEAKY}'].module"
    )
    waivers = (pytester.path / "w.toml").read_text(encoding="utf-8")
    (pytester.path / "w.toml").write_text(waivers.replace(subject.name, f"{target}:Leaky"))
    options = ("--pyargs", "properties", "--attention", f"{target}:Leaky")
    options += (
        "-m",
        "attention_causality and attention_must",
        "-k",
        "future-does or prefix",
        "-rx",
    )
    code, out = run_here(pytester, *options, "--attention-waivers", "w.toml")
    assert code == 0, out
    assert f"{CLAUSE}] XFAIL" in out
    assert "2 xfailed" in out
    assert "waived (MUST): known" in out


def test_a_convention_is_declared_as_on_the_command_line(pytester: pytest.Pytester) -> None:
    """By --attention-convention, once for each."""
    sdpa = "torch.nn.functional:scaled_dot_product_attention"
    options = ("--pyargs", "properties", "--attention", sdpa, "--attention-profile", "quick")
    options += ("-k", "empty-row-is-answered-as-ever", "--attention-convention")
    assert run_here(pytester, *options, "empty=zeros")[0] == 0
    code, out = run_here(pytester, *options, "empty=nan")
    assert code == 1
    assert "a query that sees nothing to give NaN" in out
    code, out = run_here(pytester, *options, "empty=ones")
    assert code in (pytest.ExitCode.USAGE_ERROR, pytest.ExitCode.INTERRUPTED)
    assert "no answer 'ones'" in out


def test_parametrize_makes_the_same_tests_in_a_file_of_ones_own(pytester: pytest.Pytester) -> None:
    """Ids are slugs; a root fails, what it blocks is skipped, a MAY that fails is expected to."""
    pytester.makepyfile(test_mine=MINE)
    code, out = run_here(pytester, "--junit-xml=j.xml", "-rs")
    assert code == 1, out
    found = {}
    for case in ElementTree.parse(pytester.path / "j.xml").iter("testcase"):
        (outcome, *_) = [child.get("type") or child.tag for child in case] or ["passed"]
        found[case.get("name")] = outcome
    assert found[f"test_right[{CLAUSE}]"] == "passed"
    assert found[f"test_leaky[{CLAUSE}]"] == "failure"
    assert found["test_leaky[causality/prefix-gives-prefix]"] == "pytest.skip"
    assert "needs causality/future-does-not-change-past" in out
    assert "test_right[causality/nan-future-stays-out]" in found
    assert "passed" in {outcome for name, outcome in found.items() if "test_leaky" in str(name)}
    assert "requires  Exchanging the tokens after a position" in out
    assert "testing.py" not in out


def test_a_blocked_clause_fails_where_nothing_tells_its_root(pytester: pytest.Pytester) -> None:
    """A session in which nothing fails must not hold a broken clause."""
    pytester.makepyfile(test_mine=MINE)
    code, out = run_here(pytester, "-k", "test_leaky and prefix-gives-prefix")
    assert code == 1, out
    assert "needs causality/future-does-not-change-past, which does not hold" in out


def test_parametrize_refuses_what_check_refuses(pytester: pytest.Pytester) -> None:
    """With the message and no traceback, when the file is collected."""
    pytester.makepyfile(
        "import properties\n@properties.parametrize('math:pi')\ndef test_it(check): ..."
    )
    code, out = run_here(pytester)
    assert code == 2
    assert "math:pi is an instance of float, not a class or a function" in out
    assert "Traceback" not in out
    assert "testing.py" not in out


def test_parametrize_compares_with_the_old_implementation(pytester: pytest.Pytester) -> None:
    """One more test, which fails with what changed."""
    pytester.makepyfile(
        "import properties\n"
        "from attention import CausalAttention\n"
        "class New(CausalAttention):\n"
        "    def forward(self, x): return 2.0 * super().forward(x)\n"
        "only = ['shape/output-shape']\n"
        "@properties.parametrize(New, profile='quick', only=only, old=CausalAttention)\n"
        "def test_it(check): check()\n"
    )
    code, out = run_here(pytester)
    assert code == 1
    assert "test_it[shape/output-shape] PASSED" in out
    assert "test_it[diff] FAILED" in out
    assert "different" in out
    _, out = pytest_run("-k", "diff", "--hypothesis-seed", "5", cwd=pytester.path)
    assert "--profile quick --seed 5" in out


def test_the_verdict_is_the_same_in_several_processes(pytester: pytest.Pytester) -> None:
    """Under pytest-xdist each does its own share; the outcomes are those of a single one."""
    pytester.makepyfile(test_mine=MINE)
    options = ("-m", "attention_must", "-k", "leaky and (shape or future or prefix or rows)")
    outcome = r"(PASSED|FAILED|SKIPPED)"
    _, out = run_here(pytester, *options)
    alone = set(re.findall(rf"^(test_mine\S+) {outcome}", out, re.MULTILINE))
    assert {how for _, how in alone} == {"PASSED", "FAILED", "SKIPPED"}
    _, out = pytest_run("-n", "2", *options, cwd=pytester.path)
    shared = re.findall(rf"^\[gw\d\].* {outcome} (test_mine\S+)", out, re.MULTILINE)
    assert {(name, how) for how, name in shared} == alone


def test_the_areas_halves_and_levels_that_can_be_chosen_are_those_of_the_specification() -> None:
    """A mark for each, under a name that is ours alone."""
    from properties import plugin
    from properties.spec.clause import Half, Level

    assert set(plugin.HALVES) == set(map(str, Half))
    assert {level.upper() for level in plugin.LEVELS} == set(map(str, Level))
    for clause in clauses().values():
        (area, level, half) = (mark.name for mark in properties.testing.marks(clause))
        assert area == f"attention_{clause.area}"
        assert level == f"attention_{clause.level.lower()}"
        assert half == f"attention_{clause.half}"


ENDS = """
import os, time
from attention import CausalAttention

class Ends(CausalAttention):
    def forward(self, x):
        {deed}
        return super().forward(x)
"""


@pytest.mark.parametrize(
    ("deed", "told"),
    [("os._exit(0)", "ended the process with exit code 0"), ("time.sleep(99)", "did not return")],
)
def test_a_subject_that_ends_its_process_does_not_end_the_session(
    pytester: pytest.Pytester, deed: str, told: str
) -> None:
    """The test of the clause fails with what happened and where; the others have their verdict."""
    target = pytester.makepyfile(
        ends=ENDS.format(deed=f"{deed} if self.training and self.dropout.p else None")
    )
    options = ("--pyargs", "properties", "--attention", f"{target}:Ends", "--attention-timeout=4")
    code, out = run_here(pytester, *options, "-k", "keeps-the-shape or rows-sum")
    assert code == 1
    assert f"{told}" in out
    assert "in forward" in out
    assert "1 failed, 1 passed" in out


def test_a_subject_that_ends_its_process_at_once_is_a_usage_error(
    pytester: pytest.Pytester,
) -> None:
    """Never exit code 0 and no summary."""
    target = pytester.makepyfile(ends=ENDS.format(deed="os._exit(0)"))
    code, out = run_here(pytester, "--pyargs", "properties", "--attention", f"{target}:Ends")
    assert code in (pytest.ExitCode.USAGE_ERROR, pytest.ExitCode.INTERRUPTED)
    assert f"{target}:Ends ended the process with exit code 0 in a trial of forward" in out


def test_strict_lets_bad_input_decide(pytester: pytest.Pytester) -> None:
    """Expected to fail without it."""
    target = pytester.makepyfile(
        takes_all="import torch\nfrom attention import CausalAttention\n\n"
        "class Lenient(CausalAttention):\n    def forward(self, x):\n"
        "        return super().forward(x) if x.ndim == 3 else x\n"
    )
    options = ("--pyargs", "properties", "--attention", f"{target}:Lenient", "-k", "wrong-rank")
    code, out = run_here(pytester, *options)
    assert (code, "1 xfailed" in out) == (0, True), out
    code, out = run_here(pytester, *options, "--attention-strict")
    assert (code, "1 failed" in out) == (1, True), out
