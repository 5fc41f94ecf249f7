"""Failing cases are remembered, asked first, and change nothing about what is drawn."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis.database import (
    DirectoryBasedExampleDatabase,
    ExampleDatabase,
    GitHubArtifactDatabase,
    InMemoryExampleDatabase,
    MultiplexedDatabase,
    ReadOnlyDatabase,
)
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

import properties
from attention import CausalAttention, MultiHeadAttention
from properties.basics.errors import QuestionError
from properties.cases.strategies import pinned_cases
from properties.cli import main
from properties.compare.remembering import named
from properties.recognition.targets import find_one
from properties.runs.memory import Memory, key, opened, value_of
from properties.runs.recall import replayable
from properties.runs.result import Report, describe_case
from properties.zoo.faults import faults

LEAKY = faults()["mask-result-discarded"].module
CLAUSE = "causality/future-does-not-change-past"
HOLDS = f"failed last time, holds now: {CLAUSE}"
FAILS = f"failed last time, fails again: {CLAUSE}"
HEAD = (
    "from attention import CausalAttention as Right\nfrom properties.zoo.faults import faults\n\n"
)
WRONG = HEAD + 'Mine = faults()["mask-result-discarded"].module\n'
RIGHT = HEAD + "class Mine(Right): ...\n"


class Rarely(MultiHeadAttention):
    """Wrong for an input of nothing but threes, which no seed draws."""

    def forward(self, x: Any) -> Any:
        return super().forward(x)[..., int((x == 3).all()) :]


def ask(target: Any, database: ExampleDatabase | bool, **options: Any) -> Report:
    options = {"only": [CLAUSE], "profile": "quick", **options}
    return properties.check(target, database=database, **options)


def verdict(report: Report) -> list[Any]:
    """All that a report says, but for the time and for what is remembered."""
    return [replace(result, seconds=0.0) for result in report.results] + [report.findings]


def entries(database: ExampleDatabase, name: str) -> list[bytes]:
    return sorted(database.fetch(key(name)))


@pytest.mark.parametrize("seed", range(2))
def test_the_same_seed_gives_the_same_verdict_with_a_memory_and_without(seed: int) -> None:
    """Whatever other seeds have left in it: what is drawn does not depend on it."""
    database = InMemoryExampleDatabase()
    without = ask(LEAKY, False, seed=seed)
    ask(LEAKY, database, seed=seed + 1)
    assert entries(database, without.subject)
    again = ask(LEAKY, database, seed=seed)
    assert verdict(again) == verdict(without)
    assert FAILS in " ".join(again.notes)
    assert {entry["became"] for entry in again.remembered} == {"fails"}


def test_what_holds_now_is_told_once_and_forgotten() -> None:
    """As Hypothesis does it with its own."""
    name = find_one(CausalAttention).name
    database = InMemoryExampleDatabase()
    for result in ask(LEAKY, False).results:
        if result.clause == CLAUSE:
            entry = {"clause": CLAUSE, "counterexample": result.counterexample}
            database.save(key(name), value_of(entry))
    assert HOLDS in ask(CausalAttention, database).notes
    assert entries(database, name) == []
    assert ask(CausalAttention, database).notes == ask(CausalAttention, False).notes


def test_a_remembered_case_that_no_seed_draws_fails_its_clause_and_no_other() -> None:
    """The result and a note say so; without the database the verdict is the seed's."""
    subject = find_one(Rarely)
    case = next(case for case in pinned_cases(subject) if case.dtype == "float32")
    case = replace(case, x=np.full_like(case.x, 3.0))
    shape = "shape/output-shape"
    database = InMemoryExampleDatabase()
    entry = {"clause": shape, "counterexample": describe_case(case)}
    database.save(key(subject.name), value_of(entry))
    with_it, without = (ask(Rarely, where, only=[shape, CLAUSE]) for where in (database, False))
    assert without.right
    assert with_it.failed == [shape]
    changed = [r for r in with_it.results if r.remembered]
    assert [r.clause for r in changed] == [shape]
    assert changed[0].counterexample == describe_case(case)
    assert any("on a remembered case alone" in note for note in with_it.notes)
    assert ask(Rarely, database, only=[shape], fail_fast=True).failed == [shape]


def as_many_keys(query: Tensor, key: Tensor, value: Tensor, causal: bool = False) -> Tensor:
    """Attention (B, H, T, D) of as many keys as queries."""
    if key.shape != query.shape:
        raise ValueError(f"{key.shape[-2]} keys for {query.shape[-2]} queries")
    return scaled_dot_product_attention(query, key, value, is_causal=causal)


def any_keys(query: Tensor, key: Tensor, value: Tensor, causal: bool = False) -> Tensor:
    """The same of any number of them, and of fewer heads."""
    return scaled_dot_product_attention(query, key, value, is_causal=causal, enable_gqa=True)


def test_a_remembered_call_is_not_asked_of_what_no_longer_takes_it() -> None:
    """Nor is it a failure: other numbers of keys, and shared heads, are not drawn for it either."""
    then, now = find_one(any_keys), find_one(as_many_keys)
    told = [describe_case(case) for case in pinned_cases(then) if case.call is not None]
    assert any(replayable(case, then) for case in told)
    assert not any(replayable(case, now) for case in told)
    own = [describe_case(case) for case in pinned_cases(now)]
    assert all(replayable(case, now) for case in own)


def test_a_damaged_or_foreign_entry_is_forgotten() -> None:
    """It is no failure of the subject's."""
    name = find_one(CausalAttention).name
    database = InMemoryExampleDatabase()
    for value in (
        b"{",
        b"[]",
        b'{"clause": "a"}',
        value_of({"clause": CLAUSE, "counterexample": {}}),
    ):
        database.save(key(name), value)
    assert ask(CausalAttention, database).right
    assert entries(database, name) == []


def test_a_place_is_a_folder_that_is_made_only_for_a_failure(tmp_path: Path) -> None:
    """A right subject leaves nothing behind."""
    place = tmp_path / "known"
    assert properties.check(CausalAttention, only=[CLAUSE], database=str(place)).right
    assert not place.exists()
    properties.check(LEAKY, profile="quick", only=[CLAUSE], database=str(place))
    assert place.is_dir()


def test_artifacts_on_github_are_read_and_never_written() -> None:
    """Beside the local directory, or alone where Hypothesis's settings have none."""
    database = opened("github:owner/repository").database
    assert "ReadOnlyDatabase(GitHubArtifactDatabase(owner='owner', repo='repository'" in repr(
        database
    )
    assert not isinstance(database, MultiplexedDatabase)  # conftest.py's profile has no database
    with pytest.raises(QuestionError, match="github:OWNER/REPOSITORY"):
        opened("github:owner")


def test_a_database_that_cannot_be_read_is_said_before_the_work() -> None:
    """With what to do."""

    class Gone(InMemoryExampleDatabase):
        def fetch(self, key: bytes) -> Any:
            raise ConnectionError("refused")

    with pytest.raises(QuestionError, match="--no-database"):
        Memory(Gone()).recall("any")


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[str]:
    """The address of a server that lives as long as the test."""
    pytest.importorskip("redis")
    if shutil.which("redis-server") is None:
        pytest.skip("no redis-server here")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL) as server:
        try:
            wait_for(port)
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            server.terminate()


def wait_for(port: int) -> None:
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
        except OSError:
            time.sleep(0.05)
        else:
            return


def test_what_pytest_finds_is_asked_first_by_check_and_by_another_checkout_over_redis(
    redis: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found in one folder, asked first in another with the same file; that it holds is said once."""
    for checkout in ("one", "two"):
        (tmp_path / checkout).mkdir()
        (tmp_path / checkout / "mine.py").write_text(WRONG)
    out = pytest_in(tmp_path / "one", "--attention-database", redis)
    assert "1 failed" in out
    monkeypatch.chdir(tmp_path / "two")
    assert FAILS in check("--database", redis, "--seed", "5")
    (tmp_path / "one" / "mine.py").write_text(RIGHT)
    out = pytest_in(tmp_path / "one", "--attention-database", redis)
    assert f"attention: mine.py:Mine: {HOLDS}" in out
    assert "1 passed" in out


def pytest_in(folder: Path, *options: str) -> str:
    """What a session in the folder prints about the clause."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--pyargs", "properties"]
    command += ["--attention", "mine.py:Mine", "--attention-profile", "quick", "-k", "future-does"]
    done = subprocess.run(
        [*command, *options], cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )
    return done.stdout + done.stderr


def check(*options: str) -> str:
    """What `check` prints about the clause, in the folder where we are."""
    asked = ["check", "mine.py:Mine", "--profile", "quick", "--only", CLAUSE, *options]
    with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err:
        main(asked)
    return re.sub(r"\s+", " ", out.getvalue()) + err.getvalue()


def test_a_directory_is_the_default_and_no_database_leaves_it_alone(tmp_path: Path) -> None:
    """--no-database neither reads nor writes."""
    assert opened(False).database is None
    place = opened(str(tmp_path)).database
    assert isinstance(place, DirectoryBasedExampleDatabase)


def test_a_difference_is_remembered_by_diff_and_told_once_it_is_gone(tmp_path: Path) -> None:
    """On the same seed the comparison is the same with a memory and without."""
    (tmp_path / "mine.py").write_text(WRONG)
    pair = ("attention:CausalAttention", f"{tmp_path / 'mine.py'}:Mine")
    options: dict[str, Any] = {"profile": "quick", "only": [CLAUSE]}
    database = InMemoryExampleDatabase()
    without = properties.diff(*pair, database=False, **options)
    assert properties.diff(*pair, database=database, **options).changes == without.changes
    again = properties.diff(*pair, database=database, **options)
    assert again.changes == without.changes
    assert {entry["became"] for entry in again.remembered} == {"fails"}
    (tmp_path / "mine.py").write_text(RIGHT)
    gone = "differed last time, and does not now: causality/future-does-not-change-past, outputs"
    assert gone in properties.diff(*pair, database=database, **options).notes
    assert gone not in properties.diff(*pair, database=database, **options).notes


def test_what_is_compared_is_remembered_by_the_names_of_check() -> None:
    """Whatever a target is given as: two subjects by the same adapter have two names."""
    subjects = [find_one(CausalAttention), find_one(MultiHeadAttention)]
    for target in (CausalAttention, "attention:CausalAttention", *subjects):
        assert named(target) == find_one(target).name


def test_a_comparison_beside_the_clauses_has_their_database() -> None:
    """False is no database for either."""
    *_, last = properties.parametrize(
        CausalAttention, only=[CLAUSE], old=CausalAttention, database=False
    ).args[1]
    assert last.values[0].options["database"] is False


def test_what_another_machine_has_uploaded_is_asked_first_and_left_as_it_is(tmp_path: Path) -> None:
    """An artifact is the zipped folder of a machine's own database; nothing is fetched while it is new."""
    folder, artifacts = tmp_path / "theirs", tmp_path / "artifacts"
    name = ask(LEAKY, DirectoryBasedExampleDatabase(folder)).subject
    artifacts.mkdir()
    made = datetime.now(UTC).isoformat().replace(":", "_")
    shutil.make_archive(str(artifacts / made), "zip", folder)
    before = [path.read_bytes() for path in artifacts.iterdir()]
    database = ReadOnlyDatabase(GitHubArtifactDatabase("owner", "name", path=artifacts))
    assert len(entries(database, name)) == 1
    assert FAILS in ask(LEAKY, database, seed=1).notes
    assert [path.read_bytes() for path in artifacts.iterdir()] == before
