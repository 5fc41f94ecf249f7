"""What was asked of each clause on each case, in Hypothesis's format and on one screen."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import redirect_stdout
from dataclasses import fields
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis.internal.observability import TestCaseObservation

from attention import CausalAttention
from properties.cli import main
from properties.recognition.targets import find_one
from properties.reports.drawn import Drawn, count
from properties.runs.observing import SHARE
from properties.runs.result import Report
from properties.runs.runner import run
from properties.zoo.faults import faults

SCHEMA = json.loads((Path(__file__).parent / "data" / "schema_observations.json").read_text())
ONLY = ["weights/rows-sum-to-one", "causality/future-does-not-change-past"]


def observed(target: Any, only: list[str] = ONLY) -> tuple[Report, list[dict[str, Any]]]:
    seen: list[dict[str, Any]] = []
    report = run(find_one(target), profile="quick", only=only, observe=seen.append)
    return report, json.loads(json.dumps(seen, allow_nan=False))


def wrong_with(line: dict[str, Any]) -> list[str]:
    """What the published schema has against an observation."""
    validation = pytest.importorskip("jsonschema")
    return [error.message for error in validation.Draft202012Validator(SCHEMA).iter_errors(line)]


@pytest.fixture(scope="module")
def right() -> tuple[Report, list[dict[str, Any]]]:
    return observed(CausalAttention)


def test_every_line_is_what_hypothesis_publishes_of_an_observation(right: Any) -> None:
    """By its schema, and by the fields of the version that is installed."""
    _, lines = right
    names = {field.name for field in fields(TestCaseObservation)}
    assert all(set(line) == names for line in lines)
    assert [wrong for line in lines for wrong in wrong_with(line)] == []


def test_the_schema_refuses_what_is_no_observation(right: Any) -> None:
    """A status that there is not, a field too many, one too few."""
    line = right[1][0]
    assert wrong_with({**line, "status": "pass"})
    assert wrong_with({**line, "more": 1})
    assert wrong_with({name: value for name, value in line.items() if name != "features"})


def test_there_is_a_line_for_each_clause_and_case_with_what_became_of_it(right: Any) -> None:
    """As many as the report counts, given up where the example did not count, with its margin."""
    report, lines = right
    asked = Counter(line["metadata"]["clause"] for line in lines)
    passed = Counter(line["metadata"]["clause"] for line in lines if line["status"] == "passed")
    for result in report.results:
        if result.status == "pass":
            assert asked[result.clause] >= result.examples > 0
            assert passed[result.clause] == result.counted
            shares = [
                line["features"].get(SHARE)
                for line in lines
                if line["metadata"]["clause"] == result.clause
            ]
            told = [share for share in shares if share is not None]
            assert result.margin == (max(told) if told else None)
    assert any(line["status_reason"] for line in lines if line["status"] == "gave_up")
    assert {"pinned", "drawn by Hypothesis from seed 0"} == {n["how_generated"] for n in lines}


def test_a_failure_is_told_once_with_its_message() -> None:
    """The case is the one that was drawn; making it small is no further case."""
    _, lines = observed(faults()["mask-result-discarded"].module, ONLY[1:])
    failed = [line for line in lines if line["status"] == "failed"]
    assert Counter(line["metadata"]["clause"] for line in failed).most_common(1)[0][1] == 1
    assert all(line["status_reason"].startswith("fail: expected") for line in failed)


def test_to_observe_changes_no_verdict(right: Any) -> None:
    """The results are those without."""
    report, _ = right
    plain = run(find_one(CausalAttention), profile="quick", only=ONLY)
    assert [(r.clause, r.status, r.margin) for r in plain.results] == [
        (r.clause, r.status, r.margin) for r in report.results
    ]


def test_the_statistics_fit_one_screen_and_add_up(right: Any) -> None:
    """Shares of the cases, each size in its order; a run that begins anew is counted anew."""
    all_drawn: dict[str, Drawn] = {}
    for line in right[1]:
        count(all_drawn, line)
    (drawn,) = all_drawn.values()
    text = list(drawn.lines())
    assert len(text) < 40
    assert text[0].startswith(f"drawn: {len({line['representation'] for line in right[1]})} cases")
    assert drawn.status.total() == len(right[1])
    tokens = next(line for line in text if line.startswith("  tokens"))
    percent = [int(part.partition("%")[0]) for part in tokens.split(": ")[1:]]
    assert 97 <= sum(percent) <= 103
    count(all_drawn, {**right[1][0], "run_start": 1.0})
    assert [drawn.status.total() for drawn in all_drawn.values()] == [1]


def test_check_writes_the_lines_and_prints_the_statistics(tmp_path: Path) -> None:
    """From the process that the target has of its own."""
    file = tmp_path / "seen.jsonl"
    asked = ["attention:CausalAttention", "--profile", "quick", "--only", "shape/output-shape"]
    with redirect_stdout(StringIO()) as out:
        assert main(["check", *asked, "--observe", str(file), "--stats"]) == 0
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert len(lines) == 20
    assert {line["property"] for line in lines} == {"attention:CausalAttention shape/output-shape"}
    assert " cases, 20 questions: 20 passed" in out.getvalue()
