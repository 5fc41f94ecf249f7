"""Several processes give the verdict and the counterexample of a single one, and share the work."""

from __future__ import annotations

import json
from contextlib import redirect_stdout
from dataclasses import asdict, replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from attention import CausalAttention
from properties.cli import main
from properties.recognition.targets import find_one
from properties.runs import runner
from properties.runs.ahead import known, look_ahead
from properties.runs.result import Report, Status
from properties.runs.runner import run
from properties.runs.tally import Outcome, judge
from properties.subjects.subject import Subject
from properties.worker import Work
from properties.zoo.faults import faults

CLAUSE = "causality/future-does-not-change-past"
ONLY = ["shape", CLAUSE]
WRONG = faults()["mask-result-discarded"].module


def told(subject: Subject, jobs: int, seed: int) -> list[list[Any]]:
    """What so many processes compute, after its way through a pipe; the part of each."""
    options = {"profile": "quick", "seed": seed, "only": ONLY}
    parts = [look_ahead(subject, n, jobs, options, [], lambda *now: None) for n in range(jobs)]
    return json.loads(json.dumps(parts))  # type: ignore[no-any-return]


def verdict(report: Report) -> list[Any]:
    """All of it, but for the time."""
    return [replace(result, seconds=0.0) for result in report.results] + [report.findings]


@pytest.mark.parametrize(("target", "seed", "jobs"), [(CausalAttention, 0, 2), (WRONG, 1, 3)])
def test_the_verdict_of_several_processes_is_that_of_one(target: Any, seed: int, jobs: int) -> None:
    """Of a right subject and of a wrong one, to the last number of the counterexample."""
    subject = find_one(target)
    parts = told(subject, jobs, seed)
    one = run(subject, profile="quick", seed=seed, only=ONLY)
    ahead = known(each for part in parts for each in part)
    assert verdict(run(subject, profile="quick", seed=seed, only=ONLY, ahead=ahead)) == verdict(one)


def test_of_a_right_subject_nothing_is_asked_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """The parts are disjoint, each has its share, and they leave nothing to the run itself."""
    subject = find_one(CausalAttention)
    parts = told(subject, 2, 0)
    asked = [{(clause, number) for clause, number, _ in part} for part in parts]
    assert asked[0].isdisjoint(asked[1])
    assert min(map(len, asked)) > 0.3 * sum(map(len, asked))
    again: list[str] = []

    def count(clause: Any, case: Any) -> Any:
        again.append(clause.id)
        return judge(clause, case)

    monkeypatch.setattr(runner, "judge", count)
    only = [
        id for id in ONLY if id != "causality"
    ]  # one of whose clauses may fail, and is made small
    report = run(subject, profile="quick", only=only, ahead=known(parts[0] + parts[1]))
    assert report.right
    assert again == []


def test_check_with_two_jobs_reports_what_a_run_in_this_process_does(tmp_path: Path) -> None:
    """For a single subject, by the processes that it is asked in."""
    file = tmp_path / "two.json"
    asked = ["attention:CausalAttention", "--profile", "quick", "--only", "shape"]
    with redirect_stdout(StringIO()):
        main(["check", *asked, "--jobs", "2", "--json", str(file)])
    (found,) = json.loads(file.read_text())["reports"]
    here = run(find_one("attention:CausalAttention"), profile="quick", only=["shape"])
    assert verdict(Report.from_dict(found)) == verdict(here)


class Told:
    """What a worker sends."""

    def send(self, event: str, **content: Any) -> None:
        self.content = content

    def step(self, phase: str, done: int, total: int) -> None: ...


@pytest.mark.parametrize(("lost", "status"), [({}, "fail"), ({CLAUSE: "died"}, "pass")])
def test_what_was_computed_ahead_counts_until_the_subject_ends_a_process(
    lost: dict[str, str], status: str
) -> None:
    """Then its limits are not looked for again, and other cases are drawn than were asked ahead."""
    wire: Any = Told()
    work = Work(wire)
    work.subjects = {"it": find_one(CausalAttention)}
    wrong = asdict(Outcome(Status.FAIL, message="of another case"))
    ahead = [["shape/output-shape", 0, wrong]]
    work.run("it", lost, {"profile": "quick", "seed": 0, "only": ["shape"], "ahead": ahead})
    became = {each["clause"]: each["status"] for each in wire.content["report"]["results"]}
    assert became["shape/output-shape"] == status
