"""What is written from a report: JUnit XML, annotations, the badge, and what JSON's fields mean."""

from __future__ import annotations

import json
import re
from dataclasses import fields, replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from properties.cases.strategies import pinned_cases
from properties.recognition.targets import find
from properties.reports import annotations, badge, junit
from properties.reports.document import as_json
from properties.reports.text import explained
from properties.runs.result import Finding, Report, Result, Status, describe_case
from properties.subjects.source import source_of

DOCS = Path(__file__).parents[2] / "docs"
FOUND = [
    Result("shape/output-shape", "MUST", Status.PASS, 31, 31, 0.5),
    Result("weights/rows-sum-to-one", "MUST", Status.FAIL, message="expected 1; got \x1b[0m2 <&>"),
    Result("heads/split-equals-per-head-matmul", "MUST", Status.BLOCKED, message="needs weights/"),
    Result("causality/nan-future-stays-out", "MAY", Status.FAIL, message="expected 0; got nan"),
    Result("dropout/inert-in-eval", "MUST", Status.UNSUPPORTED, message="needs dropout"),
    Result("oracle/output-within-bound", "MUST", Status.ERROR, message="oracle disputed"),
    Result("numerics/deterministic-in-eval", "MUST", Status.VACUOUS, message="1 of 31 examples"),
    Result("causality/prefix-gives-prefix", "MUST", Status.WAIVED, message="known"),
]
SOURCE = {"file": "my,dir/a.py", "line": 7, "sha256": "0"}


def report(*results: Result, **more: Any) -> Report:
    """A report with these results."""
    known = {"python": "3.11", "torch": "2.13"}
    return Report("a.py:A", "multihead", "ci", 3, list(results), known, **more)


def waived(clause: str) -> Result:
    """A result that has a waiver of its own."""
    return Result(clause, "MUST", Status.WAIVED, message="known", counterexample={"sizes": {}})


@pytest.fixture(scope="module")
def suites(tmp_path_factory: pytest.TempPathFactory) -> list[ElementTree.Element]:
    """The JUnit suites of a report with every status, and of a subject that was refused."""
    path = tmp_path_factory.mktemp("junit") / "report.xml"
    refused = Report.refused("b.py:B", "ci", 3, "B() raised ValueError.")
    junit.write([report(*FOUND, seconds=2.0), refused], path)
    return list(ElementTree.parse(path).getroot())


def test_junit_has_a_suite_for_each_subject_and_a_case_for_each_clause(
    suites: list[ElementTree.Element],
) -> None:
    """Under the clause's area, with what a run depends on as properties."""
    suite = suites[0]
    assert suite.get("name") == "a.py:A"
    cases = suite.findall("testcase")
    assert [case.get("name") for case in cases] == [result.clause for result in FOUND]
    assert cases[1].get("classname") == "weights"
    properties = {p.get("name"): p.get("value") for p in suite.iter("property")}
    assert properties["seed"] == "3"
    assert properties["profile"] == "ci"
    assert properties["torch"] == "2.13"
    assert (properties["right"], properties["guarded"]) == ("false", "true")


def test_junit_counts_what_it_holds(suites: list[ElementTree.Element]) -> None:
    """Readers trust the attributes, or the elements; they agree."""
    for suite in suites:
        for attribute, tag in (
            ("failures", "failure"),
            ("errors", "error"),
            ("skipped", "skipped"),
        ):
            assert int(suite.get(attribute, "")) == len(suite.findall(f"testcase/{tag}"))
        assert int(suite.get("tests", "")) == len(suite.findall("testcase"))


def test_junit_turns_red_for_what_decides_and_for_nothing_else(
    suites: list[ElementTree.Element],
) -> None:
    """A MAY clause that fails is skipped; a vacuous MUST is an error; so is a subject refused."""
    outcomes = {
        case.get("name"): child.tag
        for suite in suites
        for case in suite.iter("testcase")
        for child in case
    }
    assert outcomes == {
        "weights/rows-sum-to-one": "failure",
        "heads/split-equals-per-head-matmul": "skipped",
        "causality/nan-future-stays-out": "skipped",
        "dropout/inert-in-eval": "skipped",
        "oracle/output-within-bound": "error",
        "numerics/deterministic-in-eval": "error",
        "causality/prefix-gives-prefix": "skipped",
        "can be asked": "error",
    }


def test_junit_tells_the_whole_failure(suites: list[ElementTree.Element]) -> None:
    """The report's text, with what XML cannot hold replaced."""
    failure = suites[0].find("testcase/failure")
    assert failure is not None
    assert failure.get("message", "").startswith("fail (MUST): expected 1; got")
    assert "requires  The attention weights of every query sum to one." in (failure.text or "")
    assert "<&>" in (failure.text or "")


def test_annotations_name_file_line_and_clause(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An error for what decides, a warning for advice, each on one line; only where GitHub reads."""
    found = report(*FOUND, source=SOURCE)
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    annotations.show(found)
    assert not capsys.readouterr().out
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    annotations.show(found)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" ")[0] for line in lines] == ["::error", "::warning", "::error", "::error"]
    place = "file=my%2Cdir/a.py,line=7,title=weights/rows-sum-to-one (fail)"
    assert lines[0].startswith(f"::error {place}::FAIL weights/rows-sum-to-one  MUST%0A")
    assert "title=causality/nan-future-stays-out (not met)::" in lines[1]


def test_annotations_of_what_has_no_file_have_none() -> None:
    """A compiled function is annotated on the run as a whole."""
    (line,) = annotations.lines(report(FOUND[1]))
    assert line.startswith("::error title=weights/")


PASS, MORE = FOUND[0], waived("weights/rows-sum-to-one")


GUARDED = Result("error/wrong-rank", "MUST", Status.PASS, 31, 31, half="guarded")
UNGUARDED = replace(GUARDED, status=Status.FAIL, message="expected 2 axes refused; got an output")


@pytest.mark.parametrize(
    ("results", "message", "color"),
    [
        ([PASS], "right", "brightgreen"),
        ([PASS, GUARDED], "right, guarded", "brightgreen"),
        ([PASS, UNGUARDED], "right, unguarded", "brightgreen"),
        ([PASS, MORE], "right, 1 waiver", "yellow"),
        ([PASS, MORE, waived("shape/dtype"), FOUND[7]], "right, 2 waivers", "yellow"),
        ([PASS, FOUND[4]], "right in part", "yellow"),
        ([PASS, UNGUARDED, MORE, FOUND[4]], "right in part, unguarded, 1 waiver", "yellow"),
        ([PASS, FOUND[3]], "right", "brightgreen"),
        ([PASS, FOUND[1]], "not right", "red"),
        ([PASS, FOUND[6]], "no verdict", "red"),
        ([], "no verdict", "red"),
    ],
)
def test_the_badge_shows_both_halves_and_waivers(
    results: list[Result], message: str, color: str
) -> None:
    """Never a percentage."""
    made = badge.badge([report(*results)])
    assert made == {"schemaVersion": 1, "label": "attention", "message": message, "color": color}


def test_the_badge_is_red_where_both_halves_decide_and_one_does_not_hold() -> None:
    """As the exit code says."""
    made = badge.badge([report(PASS, UNGUARDED, strict=True)])
    assert (made["message"], made["color"]) == ("right, unguarded", "red")


def test_bad_input_that_is_taken_turns_a_build_red_only_where_it_decides(tmp_path: Path) -> None:
    """Else JUnit skips it with its message, and GitHub shows a warning."""
    for strict, tag, level in ((False, "skipped", "warning"), (True, "failure", "error")):
        found = report(PASS, UNGUARDED, strict=strict)
        junit.write([found], tmp_path / "report.xml")
        (told,) = ElementTree.parse(tmp_path / "report.xml").getroot().iter(tag)
        assert told.get("message") == "unguarded (MUST): expected 2 axes refused; got an output"
        (line,) = annotations.lines(found)
        assert line.startswith(f"::{level} title=error/wrong-rank (unguarded)::UNGUARDED ")


def test_the_badge_and_the_document_tell_of_an_argument_that_was_not_asked() -> None:
    """All that was asked holds, which is not all there is."""
    kept = replace(report(PASS), unasked={"attn_mask": "which keys a query sees"})
    assert badge.badge([kept])["message"] == "right in part"
    assert json.loads(as_json([kept]))["reports"][0]["unasked"] == kept.unasked


def test_the_badge_of_several_subjects_shows_the_worst() -> None:
    """One that was refused counts."""
    right, wrong = report(PASS), report(PASS, FOUND[1])
    refused = Report.refused("b", "ci", 0, "why")
    assert badge.badge([right, wrong])["message"] == "not right"
    assert badge.badge([right, refused])["message"] == "no verdict"
    assert badge.badge([right, right])["message"] == "right"
    assert badge.badge([right, report(PASS, UNGUARDED)])["message"] == "right, unguarded"
    assert badge.badge([])["message"] == "no verdict"


def documented(heading: str) -> list[str]:
    """The fields in the table below a heading of docs/json.md."""
    text = (DOCS / "json.md").read_text(encoding="utf-8")
    section = re.split(r"^#+ ", text.partition(f"# {heading}\n")[2], flags=re.MULTILINE)[0]
    return re.findall(r"^\| `(\w+)` \|", section, flags=re.MULTILINE)


def test_every_field_of_the_json_report_is_documented_and_no_other() -> None:
    """docs/json.md and the dataclasses agree, in order."""
    assert documented("The JSON report") == list(json.loads(as_json([])))
    assert documented("Report") == list(report(PASS).to_dict())
    assert documented("Result") == [field.name for field in fields(Result)]
    case = pinned_cases(find("attention:CausalAttention")[0])[0]
    assert documented("Counterexample") == list(describe_case(case))


def test_the_json_report_is_of_the_documented_schema() -> None:
    """The name of the schema, and every status."""
    text = (DOCS / "json.md").read_text(encoding="utf-8")
    assert f'"{json.loads(as_json([]))["schema"]}"' in text
    assert all(f"`{status}`" in text for status in Status)


def test_the_source_is_the_file_and_line_of_the_class(tmp_path: Path) -> None:
    """With a hash that changes with the file, or with that of a class it inherits from."""
    base, file = tmp_path / "base_of_it.py", tmp_path / "derived.py"
    base.write_text("from attention import CausalAttention\n\nclass Base(CausalAttention): ...\n")
    file.write_text("from base_of_it import Base\n\n\nclass MyAttention(Base):\n    pass\n")
    (subject,) = find(f"{file}:MyAttention")
    assert subject.source["file"] == file.as_posix()
    assert subject.source["line"] == 4
    assert len(subject.source["sha256"]) == 64
    file.write_text(file.read_text() + "# changed\n")
    (changed,) = find(f"{file}:MyAttention")
    assert changed.source["sha256"] != subject.source["sha256"]


def test_what_has_no_python_text_has_no_source() -> None:
    """Torch's own are told by torch's version."""
    assert find("torch.nn:MultiheadAttention")[0].source == {}
    assert source_of(len) == {}


def test_a_failure_is_told_with_the_finding_that_it_is_a_part_of() -> None:
    """The name stands beside what it explains, and nowhere else."""
    ids = ("weights/rows-sum-to-one", "weights/non-negative", "state/deepcopy")
    results = [Result(id, "MUST", Status.FAIL, message="expected 1; got 2") for id in ids]
    whole = Finding("fault", "MUST", [*ids[:2]], [ids[2]], name="no softmax", look="the softmax")
    lead, same, likely = (
        explained(result, report(*results, findings=[whole])).splitlines() for result in results
    )
    assert lead[1] == "no softmax; look for the softmax"
    assert same[1:3] == [lead[1], "one finding with weights/rows-sum-to-one"]
    assert likely[1] == "likely the same as weights/rows-sum-to-one"
    assert not any("softmax" in line for line in likely)
