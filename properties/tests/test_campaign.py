"""Campaigns: nothing that is finished is lost or asked again, whatever becomes of workers."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from squares import square

from properties.basics.errors import QuestionError
from properties.cli import main
from properties.reports.campaign import merged
from properties.runs import plan
from properties.runs.campaign import PATIENCE, Campaign
from properties.runs.engines import Local, started
from properties.runs.journal import Journal

CLAUSE = "shape/output-shape"
PIECES = [{"number": number} for number in range(12)]
WRONG = """import os
from attention import CausalAttention

class Mine(CausalAttention):
    def forward(self, x):
        return super().forward(x)[..., 1:]

class Ends(CausalAttention):
    def forward(self, x):
        if not os.path.exists({marker!r}):
            open({marker!r}, "w").close()
            os._exit(9)
        return super().forward(x)
"""


@contextmanager
def campaign(path: Path, jobs: int = 2, **options: Any) -> Iterator[Campaign]:
    with Journal(path) as journal, started("local", jobs, None) as engine:
        yield Campaign(square, engine, journal, **options)


def squares(lines: list[dict[str, Any]]) -> list[int]:
    return [line["square"] for line in lines]


def test_a_worker_that_is_killed_in_the_middle_loses_nothing(tmp_path: Path) -> None:
    """Each piece has one line, and the answer is that of an undisturbed run."""
    told: list[tuple[int, int]] = []
    killed: list[int] = []

    def kill(line: dict[str, Any]) -> None:
        if len(told) > 4 and not killed:
            killed.append(line["process"])
            os.kill(line["process"], signal.SIGKILL)

    def listen(finished: int, total: int, left: float) -> None:
        told.append((finished, total))

    path = tmp_path / "results.jsonl"
    with campaign(path, arrived=kill, listen=listen) as work:
        lines = work.carry_out(PIECES)
    assert killed
    assert squares(lines) == [number**2 for number in range(12)]
    assert len(path.read_text().splitlines()) == 12
    assert len({line["process"] for line in lines}) > 2  # others came in the place of the dead
    assert told[0] == (0, 12)
    assert told[-1] == (12, 12)


def test_a_death_between_two_pieces_is_told_by_the_answer_to_the_next() -> None:
    """As one in the middle of a piece is: until the engine is renewed no answer comes."""
    engine = Local(1)
    os.kill(engine.submit(square, {"number": 1}).result()["process"], signal.SIGKILL)
    for _ in range(2):
        assert isinstance(engine.submit(square, {"number": 2}).exception(), BrokenExecutor)
    engine.renew()
    assert engine.submit(square, {"number": 3}).result()["square"] == 9
    engine.close()


def test_what_always_ends_its_worker_is_lost_and_tried_again_by_the_next_run(
    tmp_path: Path,
) -> None:
    """It takes no other piece along. The next run asks it alone, and nothing that is finished."""
    cure = tmp_path / "cured"
    pieces = [{"number": 1}, {"number": 2, "ends": str(cure)}, {"number": 3}]
    with campaign(tmp_path / "results.jsonl") as work:
        lines = work.carry_out(pieces)
    assert lines[1]["lost"].startswith(f"{PATIENCE} workers died of it")
    assert [lines[0]["square"], lines[2]["square"]] == [1, 9]
    cure.touch()
    asked: list[dict[str, Any]] = []
    with campaign(tmp_path / "results.jsonl", arrived=asked.append) as work:
        assert squares(work.carry_out(pieces)) == [1, 4, 9]
    assert [line["piece"]["number"] for line in asked] == [2]


def test_a_line_that_was_cut_off_is_asked_again_and_others_are_kept(tmp_path: Path) -> None:
    """As after a power cut in the middle of a write."""
    path = tmp_path / "results.jsonl"
    whole = json.dumps({"piece": {"number": 5}, "square": -1}) + "\n"
    path.write_text(whole + '{"piece": {"number": 6}, "squ')
    with campaign(path, jobs=1) as work:
        assert squares(work.carry_out([{"number": 5}, {"number": 6}])) == [-1, 36]
    assert [json.loads(line)["square"] for line in path.read_text().splitlines()] == [-1, 36]


def test_an_error_of_ours_costs_its_piece_alone(tmp_path: Path) -> None:
    """And is told in its line."""
    with campaign(tmp_path / "results.jsonl", jobs=1) as work:
        lines = work.carry_out([{"other": 1}, {"number": 2}])
    assert lines[0]["lost"] == "KeyError: 'number'"
    assert lines[1]["square"] == 4


def test_results_belong_to_one_campaign_at_a_time(tmp_path: Path) -> None:
    """And to no other kind of file."""
    path = tmp_path / "results.jsonl"
    with Journal(path), pytest.raises(QuestionError, match="another campaign"):
        Journal(path)
    path.write_text("notes\n")
    with pytest.raises(QuestionError, match="not the results of a campaign"):
        Journal(path)


def written(folder: Path, **plan: Any) -> Path:
    """A plan and the file with its target."""
    (folder / "mine.py").write_text(WRONG.format(marker=str(folder / "marker")))
    lines = [f"{name} = {json.dumps(value)}" for name, value in plan.items()]
    (folder / "plan.toml").write_text("\n".join(lines))
    return folder / "plan.toml"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("targets", []),
        ("seeds", "ten"),
        ("formats", ["float8"]),
        ("profile", "slow"),
        ("only", ["no-such-clause"]),
        ("family", "other"),
        ("timeout", 0),
        ("colour", "red"),
    ],
)
def test_a_plan_that_means_nothing_is_refused(tmp_path: Path, name: str, value: Any) -> None:
    """By the name of what is wrong in it."""
    path = written(tmp_path, **{"targets": ["a:B"], name: value})
    with pytest.raises(QuestionError, match="no-such-clause" if name == "only" else name):
        plan.read(path)


def test_a_plan_is_every_target_with_every_format_and_seed(tmp_path: Path) -> None:
    """Each piece once, those of a target together."""
    path = written(tmp_path, targets=["a:B", "c"], seeds=3, formats=["float32", "float16"])
    pieces = plan.read(path).pieces()
    assert [piece["target"] for piece in pieces] == ["a:B"] * 6 + ["c"] * 6
    assert len({json.dumps(piece) for piece in pieces}) == 12


def test_a_campaign_reports_first_failures_and_margins_and_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One right subject and one wrong one, by a worker; the second run asks nothing."""
    targets = ["attention:CausalAttention", "mine.py:Mine"]
    formula = "oracle/output-within-bound"
    formats = ["float32", "float16"]  # asked by one process, each with cases of its own
    path = written(tmp_path, targets=targets, seeds=[3], formats=formats, only=[formula])
    monkeypatch.chdir(tmp_path)
    with redirect_stdout(StringIO()) as out:
        assert main(["campaign", str(path), "--json", "all.json"]) == 1
    assert f"FAIL mine.py:Mine {CLAUSE} (MUST), 2 times" in out.getvalue()
    assert "first: mine.py:Mine, seed 3, float32" in out.getvalue()
    assert "share of the bound that was used" in out.getvalue()
    (failed,) = json.loads((tmp_path / "all.json").read_text())["failures"]
    assert failed["counterexample"]["dtype"] == "float32"
    before = (tmp_path / "plan.jsonl").read_text()
    lines = [json.loads(line) for line in before.splitlines()]
    shown = [(n["piece"]["format"], f) for n in lines for r in n["reports"] for f in r["failures"]]
    assert {(form, failed["counterexample"]["dtype"]) for form, failed in shown} == {
        ("float32", "float32"),
        ("float16", "float16"),
    }
    monkeypatch.setattr(Local, "submit", None)
    with redirect_stdout(StringIO()) as again:
        assert main(["campaign", str(path)]) == 1
    assert again.getvalue() == out.getvalue()
    assert (tmp_path / "plan.jsonl").read_text() == before


def test_a_process_that_is_lost_once_leaves_no_trace_in_the_answer(tmp_path: Path) -> None:
    """Whoever ended it: the piece is asked a second time."""
    path = written(tmp_path, targets=[f"{tmp_path / 'mine.py'}:Ends"], only=[CLAUSE])
    (piece,) = plan.read(path).pieces()
    line = {"piece": piece, **plan.ask(piece)}
    assert (tmp_path / "marker").exists()
    assert line["reports"][0]["status"] == {CLAUSE: "pass"}
    assert merged([line]).exit_code == 0


def test_two_workers_of_a_dask_cluster_lose_nothing_when_one_is_killed(tmp_path: Path) -> None:
    """On the loopback: the cluster hands what the dead one had to the other."""
    pytest.importorskip("distributed")
    killed: list[int] = []

    def kill(line: dict[str, Any]) -> None:
        if not killed:
            killed.append(line["process"])
            os.kill(line["process"], signal.SIGKILL)

    with Journal(tmp_path / "dask.jsonl") as journal, started("dask", 2, None) as engine:
        lines = Campaign(square, engine, journal, arrived=kill).carry_out(PIECES)
    assert squares(lines) == [number**2 for number in range(12)]
    assert len({line["process"] for line in lines}) >= 2
    assert os.getpid() not in {line["process"] for line in lines}


def test_an_engine_that_there_is_not_cannot_be_asked() -> None:
    """The message names those there are."""
    with pytest.raises(QuestionError, match="local, dask, ray"), started("slurm", 1, None):
        pass
    with pytest.raises(QuestionError, match="--address"), started("local", 1, "tcp://here:1"):
        pass
