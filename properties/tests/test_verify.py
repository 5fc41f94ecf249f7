"""Conformance statements: written, asked again, and refused where they are none."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

import properties
from properties.basics.errors import QuestionError
from properties.cli import main
from properties.reports import statement
from properties.runs.result import Report, Result, Status
from properties.runs.waivers import accepted, append

LEAKY = (Path(__file__).parents[2] / "docs" / "leaky.py").read_text(encoding="utf-8")
CLAUSE = "causality/future-does-not-change-past"


def test_a_statement_is_the_same_until_the_subject_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Waivers and all; a changed subject is told though every verdict is what it was."""
    monkeypatch.chdir(tmp_path)
    module = tmp_path / "leaky.py"
    module.write_text(LEAKY, encoding="utf-8")
    check = ["check", "leaky.py:LeakyAttention", "--profile", "quick", "--only", CLAUSE]
    append(Path("w.toml"), accepted([properties.check(check[1], only=[CLAUSE])], "known"))
    assert main([*check, "--waivers", "w.toml", "--statement", "s.json"]) == 0
    capsys.readouterr()
    assert main(["verify", "s.json"]) == 0
    assert capsys.readouterr().out == "s.json: same (leaky.py:LeakyAttention)\n"
    module.write_text(LEAKY + "\n# another line\n", encoding="utf-8")
    assert main(["verify", "s.json"]) == 1
    *lines, last = capsys.readouterr().out.splitlines()
    assert lines == [
        "leaky.py:LeakyAttention: subject changed: leaky.py is not what it was when this was stated"
    ]
    assert last == "s.json: different (leaky.py:LeakyAttention)"


CLAIM = statement.claim(
    Report(
        "a.py:A",
        "causal",
        "quick",
        0,
        [Result("shape/output-shape", "MUST", Status.PASS, 31, 31)],
        {"torch": "2.13"},
        source={"file": "a.py", "line": 1, "sha256": "0"},
    )
)


def changed(**fields: Any) -> dict[str, Any]:
    """The claim with other fields."""
    return {**copy.deepcopy(CLAIM), **fields}


FAILED = {"level": "MUST", "status": "fail", "examples": 1, "counted": 0}


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (changed(), []),
        (changed(versions={"torch": "2.14"}), ["version of torch: stated 2.13, now 2.14"]),
        (changed(versions={}), ["version of torch: stated 2.13, now nothing"]),
        (
            changed(source={"file": "a.py", "line": 1, "sha256": "1"}),
            ["subject changed: a.py is not what it was when this was stated"],
        ),
        (changed(source={**CLAIM["source"], "line": 5}), []),
        (changed(right=False), ["right: stated yes, now no"]),
        (changed(guarded=False), ["guarded: stated yes, now no"]),
        (changed(strict=True), ["strict: stated no, now yes"]),
        (
            changed(clauses={"shape/output-shape": FAILED}),
            [
                "shape/output-shape: stated pass (31 of 31 examples), now fail (0 of 1 examples)",
            ],
        ),
        (
            changed(clauses={**CLAIM["clauses"], "shape/dtype": FAILED}),
            ["shape/dtype: stated nothing, now fail (0 of 1 examples)"],
        ),
        (changed(family="multihead"), ["family: stated causal, now multihead"]),
    ],
)
def test_what_differs_is_named(found: dict[str, Any], said: list[str]) -> None:
    """Subject, versions, verdicts."""
    assert list(statement.differences(CLAIM, found)) == said


NULL = {"clause": "shape/output-shape", "reason": "known", "counterexample": {"x": None}}
LIST = {**NULL, "counterexample": {"weights": [1]}}
DOCUMENT = {"schema": statement.SCHEMA, "spec": "1.0", "claims": [CLAIM]}


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ("{", "not JSON"),
        ("[]", "expected 'attention-properties/statement/2'"),
        (json.dumps({**DOCUMENT, "schema": "attention-properties/statement/1"}), "write it again"),
        (json.dumps({"schema": "attention-properties/report/2"}), "report/2"),
        (json.dumps({**DOCUMENT, "claims": []}), "damaged"),
        (json.dumps({**DOCUMENT, "spec": 1}), "damaged"),
        (json.dumps({**DOCUMENT, "claims": [7]}), "damaged"),
        (json.dumps({**DOCUMENT, "claims": [changed(seed="0")]}), "seed is missing or no int"),
        (json.dumps({**DOCUMENT, "claims": [changed(clauses={"a": 1})]}), "damaged"),
        (json.dumps({**DOCUMENT, "claims": [changed(waivers=[{"clause": "x"}])]}), "reason"),
        (json.dumps({**DOCUMENT, "claims": [changed(waivers=[7])]}), "a waiver is no table"),
        (json.dumps({**DOCUMENT, "claims": [changed(waivers=[NULL])]}), "is damaged"),
        (json.dumps({**DOCUMENT, "claims": [changed(waivers=[LIST])]}), "is damaged"),
    ],
)
def test_what_is_no_statement_cannot_be_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], document: str, said: str
) -> None:
    """Exit code 2, and what is wrong with it."""
    file = tmp_path / "statement.json"
    file.write_text(document, encoding="utf-8")
    assert main(["verify", str(file)]) == 2
    assert said in capsys.readouterr().err


def test_a_statement_that_is_not_there_cannot_be_read(tmp_path: Path) -> None:
    """Nor one that is a folder."""
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(QuestionError, match="name a statement"):
            statement.read(path)


def test_a_subject_that_was_refused_is_no_claim(tmp_path: Path) -> None:
    """Nothing is known of it."""
    path = tmp_path / "s.json"
    statement.write([Report.refused("b", "ci", 0, "why")], path)
    assert json.loads(path.read_text())["claims"] == []
