"""Waivers: the four ends of one, what its file may hold, and how one is written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from properties.basics.errors import QuestionError
from properties.cli import main
from properties.recognition.targets import find
from properties.runs.result import Report
from properties.runs.runner import Run, run
from properties.runs.waivers import Waiver, accepted, append, read
from properties.spec.clause import Condition, clauses
from properties.spec.profiles import PROFILES
from properties.zoo.faults import faults
from properties.zoo.faults.plain import PlainMultiHead

CLAUSE = "causality/future-does-not-change-past"
LEAKY = find(faults()["mask-result-discarded"].module, "multihead")[0]
RIGHT = find(PlainMultiHead, "multihead")[0]
SIZES = {"batch": 1, "tokens": 1, "d_in": 1, "heads": 1, "head_dim": 1, "context_length": 1}
REASON = 'Known: "the mask"\nis new \\ we retrain in March. \x7f é'


def ask(subject: Any, waivers: Path | None = None, *only: str) -> Report:
    """The clause alone, with what it depends on, at profile quick."""
    return run(subject, profile="quick", only=[CLAUSE, *only], waivers=waivers)


@pytest.fixture(scope="module")
def failure() -> Waiver:
    """A waiver of what the leaky module does, for any subject."""
    (waiver,) = accepted([ask(LEAKY)], REASON)
    return replace(waiver, subject=None)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where each test writes its waivers."""
    return tmp_path / "waivers.toml"


def test_a_waived_failure_does_not_break_conformance(file: Path, failure: Waiver) -> None:
    """It is shown with its reason and its counterexample; what depends on it is waived with it."""
    append(file, [failure])
    report = ask(LEAKY, file, "causality/prefix-gives-prefix")
    results = {result.clause: result for result in report.results}
    assert report.conforms
    assert report.exit_code == 0
    assert [result.clause for result in report.waived] == [CLAUSE]
    assert results[CLAUSE].message == REASON
    assert results[CLAUSE].counterexample == failure.counterexample
    assert results["causality/prefix-gives-prefix"].status == "waived"
    assert f"needs {CLAUSE}" in results["causality/prefix-gives-prefix"].message
    assert report.waivers == [failure.data()]
    assert any(str(file) in note for note in report.notes)


def test_a_waiver_whose_counterexample_holds_fails_the_run(file: Path, failure: Waiver) -> None:
    """What was repaired must not stay waived."""
    append(file, [failure])
    report = ask(RIGHT, file)
    (result,) = (r for r in report.results if r.clause == CLAUSE)
    assert (result.status, report.exit_code) == ("fail", 1)
    assert "remove this waiver: it holds now" in result.message
    assert f"{file}, waiver 1" in result.message
    assert report.waivers == [failure.data()]
    assert report.options == ["--family", "multihead", "--waivers", str(file)]


@pytest.mark.parametrize(("met", "status"), [(True, "waived"), (False, "vacuous")])
def test_a_waiver_excuses_no_condition_that_is_never_met(
    file: Path, failure: Waiver, met: bool, status: str
) -> None:
    """A clause after a waived one is vacuous if what was passed over would not have counted."""
    append(file, [failure])
    known = clauses()[CLAUSE]
    leaf = replace(
        known,
        id="test/leaf",
        after=(CLAUSE,),
        check=lambda case: None,
        counts=Condition("what is never met", lambda case: met),
    )
    chosen = Run(LEAKY, [known, leaf], PROFILES["quick"], 0, waivers=read(file))
    assert chosen.report().results[-1].status == status


def test_a_failure_outside_the_condition_is_a_failure(file: Path, failure: Waiver) -> None:
    """A waiver for one format excuses no other; the counterexample is one that is not covered."""
    example = {**failure.counterexample, "dtype": "bfloat16"}
    append(file, [replace(failure, counterexample=example, when={"dtype": "bfloat16"})])
    report = ask(LEAKY, file)
    (result,) = (r for r in report.results if r.clause == CLAUSE)
    assert (result.status, report.exit_code) == ("fail", 1)
    assert result.counterexample is not None
    assert result.counterexample["dtype"] != "bfloat16"


def test_a_condition_that_covers_every_failure_is_enough(file: Path, failure: Waiver) -> None:
    """And what depends on the clause is still asked where the condition does not hold."""

    class LeakyInSingle(PlainMultiHead):
        def forward(self, x: Any) -> Any:
            leak = x.mean() if str(x.dtype) == "torch.float32" else 0.0
            return super().forward(x) + leak

    subject = find(LeakyInSingle, "multihead")[0]
    example = {**failure.counterexample, "dtype": "float32"}
    append(file, [replace(failure, counterexample=example, when={"dtype": "float32"})])
    report = run(subject, profile="quick", only=["causality/prefix-gives-prefix"], waivers=file)
    statuses = {result.clause: str(result.status) for result in report.results}
    assert statuses[CLAUSE] == "waived"
    assert statuses["causality/prefix-gives-prefix"] == "pass"


def test_a_waiver_for_another_subject_is_told_and_excuses_nothing(
    file: Path, failure: Waiver
) -> None:
    """Nothing is passed over in silence."""
    append(file, [replace(failure, subject="package:Other")])
    report = ask(LEAKY, file)
    assert report.failed == [CLAUSE]
    assert any("for another subject" in note for note in report.notes)


def test_what_is_written_is_read_and_what_was_there_stays(file: Path, failure: Waiver) -> None:
    """Comments too; and the second is appended to the first."""
    file.write_text("# reviewed by hand\n", encoding="utf-8")
    conditional = replace(
        failure, subject="a:B", when={"heads": 1, "bias": False, "dtype": "float64"}
    )
    append(file, [failure])
    append(file, [conditional])
    assert file.read_text(encoding="utf-8").startswith("# reviewed by hand\n")
    found = read(file)
    assert [replace(waiver, place="") for waiver in found] == [failure, conditional]
    assert [waiver.place for waiver in found] == [f"{file}, waiver 1", f"{file}, waiver 2"]


ENTRY = f'[[waiver]]\nclause = "{CLAUSE}"\nreason = "known"\ncounterexample = {{ cut = 0 }}\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (ENTRY.replace("change-past", "chance-past"), CLAUSE),
        (ENTRY + "whem = {}\n", "did you mean when"),
        (ENTRY + "when = { head = 1 }\n", "did you mean heads"),
        (ENTRY + 'when = { dtype = "double" }\n', "float64"),
        (ENTRY + "when = { tokens = true }\n", "a size above 0"),
        (ENTRY + "when = { tokens = 0 }\n", "a size above 0"),
        (ENTRY + "when = { bias = 1 }\n", "true or false"),
        (ENTRY + "when = 3\n", "expected a table"),
        (ENTRY + 'family = "causal"\n', "means nothing here"),
        (ENTRY.replace("known", " "), "reason is empty"),
        (ENTRY.replace('reason = "known"\n', ""), "reason is missing"),
        (ENTRY.replace('"known"', "7"), "expected text"),
        (ENTRY.replace("{ cut = 0 }", "{}"), "counterexample is missing"),
        ("[[waivers]]\n", "did you mean waiver"),
        ("waiver = 3\n", "expected [[waiver]] tables"),
        ("[[waiver\n", "not TOML"),
    ],
)
def test_a_file_that_means_something_else_is_refused(file: Path, text: str, said: str) -> None:
    """Unknown ids, keys, conditions and values, with what they could have been."""
    file.write_text(text, encoding="utf-8")
    with pytest.raises(QuestionError) as refusal:
        read(file)
    assert said in str(refusal.value)
    assert str(file) in str(refusal.value)


def test_a_file_that_is_not_there_is_refused(file: Path) -> None:
    """It could be a typing error in the path."""
    with pytest.raises(QuestionError, match="name a file that there is"):
        read(file)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"x": [[[0.0]]]}, "x has the shape"),
        ({"sizes": {"batch": 1}}, "missing"),
        ({"dtype": "float8"}, "does not run in float8"),
        ({"weights": {}}, "weights"),
        ({"weights": [1]}, "replayed"),
        ({"weights": {"query": [[1.0]]}}, "missing"),
        ({"weights": {"query": [[1.0], [2.0]], "key": [[0.0]], "value": [[1.0]]}}, "query has"),
        ({"sizes": {**SIZES, "batch": 1.0}}, "batch is 1.0"),
        ({"sizes": {**SIZES, "tokens": 2, "context_length": 1}}, "more than context_length"),
        ({"cut": 40}, "cut is 40"),
        ({"dropout": 2.0}, "dropout is 2.0"),
    ],
)
def test_a_counterexample_that_is_no_case_of_the_subject_is_refused(
    failure: Waiver, change: dict[str, Any], said: str
) -> None:
    """With the way out."""
    damaged = replace(failure, counterexample={**failure.counterexample, **change})
    with pytest.raises(QuestionError, match="--accept") as refusal:
        damaged.case(LEAKY)
    assert said in str(refusal.value)


def test_a_counterexample_outside_its_own_condition_is_refused(file: Path, failure: Waiver) -> None:
    """It would never show that the waiver is needed."""
    append(file, [replace(failure, when={"tokens": 40})])
    with pytest.raises(QuestionError, match="own condition"):
        ask(LEAKY, file)


def test_a_waiver_of_what_the_family_is_never_asked_is_refused(file: Path, failure: Waiver) -> None:
    """There is nothing to waive."""
    append(file, [failure])
    with pytest.raises(QuestionError, match="nothing to waive"):
        run(find("attention:SelfAttention_v2")[0], profile="quick", waivers=file)


@pytest.mark.parametrize(
    "options",
    [
        ("--accept",),
        ("--accept", "--reason", "known"),
        ("--accept", "--waivers", "w.toml"),
        ("--accept", "--waivers", "w.toml", "--reason", " "),
        ("--reason", "known"),
        ("--accept", "--waivers", "no/folder/w.toml", "--reason", "known"),
        ("--statement", "s.json", "--fail-fast"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options: tuple[str, ...]) -> None:
    """Before the work."""
    assert main(["check", "attention:CausalAttention", *options]) == 2


def test_accept_writes_what_the_next_run_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The verdict of the run that accepts is its own; the next one conforms with a waiver."""
    monkeypatch.chdir(Path(__file__).parents[2])
    target = "docs/leaky.py:LeakyAttention"
    file = tmp_path / "waivers.toml"
    check = ["check", target, "--profile", "quick", "--only", CLAUSE, "--waivers", str(file)]
    assert main([*check, "--accept", "--reason", "known"]) == 1
    assert f"1 accepted in {file}: {CLAUSE}" in capsys.readouterr().out
    assert read(file)[0].subject == target
    assert main(check) == 0
    assert "right with 1 waiver" in capsys.readouterr().out


def test_accept_says_that_there_is_nothing_to_accept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And writes no file."""
    file = tmp_path / "waivers.toml"
    options = ["--only", "shape/output-shape", "--profile", "quick", "--waivers", str(file)]
    right = ["check", "attention:CausalAttention", *options, "--accept", "--reason", "known"]
    assert main(right) == 0
    assert "nothing failed that could be accepted" in capsys.readouterr().out
    assert not file.exists()
