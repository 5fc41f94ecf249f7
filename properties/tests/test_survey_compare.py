"""A failure's smallest case on other implementations: who agrees with whom, and with the definition."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from attention import MultiHeadAttention
from properties import check
from properties.basics.errors import QuestionError
from properties.cli import main
from properties.recognition.targets import find_one
from properties.reports import document
from properties.runs.result import Report
from properties.survey import comparing, telling
from properties.survey import lines as listed
from properties.survey.comparing import Failing, compared
from properties.survey.comparison import Compared, within
from properties.survey.lines import Line
from properties.survey.replay import answered, heard
from properties.worker import Work

SHOWN = "mask/shows-what-it-shows"
OUTPUT = "oracle/output-within-bound"


def right(query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None) -> Tensor:
    """By torch."""
    return F.scaled_dot_product_attention(query, key, value, attn_mask)


def written(query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None) -> Tensor:
    """Right, in the order of the formula; a row that sees nothing gives NaN."""
    scores = query @ key.mT / query.shape[-1] ** 0.5
    if attn_mask is not None:
        scores = scores.masked_fill(~attn_mask, -torch.inf)
    return scores.softmax(-1) @ value


def moved(query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None) -> Tensor:
    """The mask lies one key further."""
    mask = None if attn_mask is None else attn_mask.roll(1, -1)
    return F.scaled_dot_product_attention(query, key, value, mask)


def maskless(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """It is told nothing else."""
    return F.scaled_dot_product_attention(query, key, value)


class Doubled(MultiHeadAttention):
    """Its output is twice as large."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, T, d_in) to (B, T, d_out)."""
        return 2.0 * super().forward(x)


def line(name: str) -> Line:
    """One of these as a line of the survey."""
    return Line("torch", name, f"{__name__}:{name}")


class Told:
    """What a worker sends."""

    def send(self, event: str, **content: Any) -> None:
        self.content = content

    def step(self, phase: str, done: int, total: int) -> None: ...


class Here:
    """A target asked in this process."""

    def __init__(
        self,
        target: str,
        family: str | None,
        timeout: float,
        progress: object = None,
        conventions: Mapping[str, str] | None = None,
        given: Sequence[str] = (),
    ) -> None:
        self.wire = Told()
        wire: Any = self.wire
        self.work = Work(wire)
        self.asked: tuple[Any, ...] = (
            target,
            family,
            None,
            {},
            dict(conventions or {}),
            list(given),
            timeout,
        )
        self.clauses: dict[str, list[str]] = {}
        self.refused: dict[str, str] = {}

    def __enter__(self) -> Here:
        return self

    def __exit__(self, *error: object) -> None: ...

    def survey(self) -> None:
        self.work.survey(*self.asked)
        self.clauses, self.refused = (self.wire.content[n] for n in ("clauses", "refused"))

    def answers(self, command: str, name: str, outcome: str, **told: Any) -> list[dict[str, Any]]:
        getattr(self.work, command)(name, **json.loads(json.dumps(told)))
        return [self.wire.content]


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparing, "Isolated", Here)


def report(target: str | type, law: str) -> Report:
    """That on one of these, of a single law."""
    asked = f"{__name__}:{target}" if isinstance(target, str) else target
    return check(asked, profile="quick", only=[law], database=False)


def failure(target: str | type, law: str) -> tuple[str, Mapping[str, Any]]:
    """The first law that failed, and the smallest case that was found."""
    (first, *_) = (r for r in report(target, law).results if r.counterexample)
    assert first.counterexample is not None
    return first.clause, first.counterexample


def of(name: str, law: str, *others: str) -> Compared:
    """One's failure of a law, on these others."""
    failing = Failing.line(line(name), report(name, law))
    asked = map(line, (*others, name))
    (found,) = compared([failing], list(asked), 60.0, lambda _: lambda *_: None)
    return found


def test_who_agrees_with_whom_is_told_and_who_cannot_be_asked_so() -> None:
    """The right ones with the definition; the wrong one alone."""
    found = of("moved", SHOWN, "right", "written", "maskless")
    assert found.groups() == [["torch: right", "torch: written"], ["torch: moved"]]
    assert {name: found.agrees(output) for name, output in found.outputs.items()} == {
        "torch: moved": False,
        "torch: right": True,
        "torch: written": True,
    }
    assert found.answers["torch: maskless"] == "takes no mask"
    told = list(telling.lines(found))
    assert told[-1] == "  2 of 3 give A, 1 of 3 gives B, the definition gives A"
    assert "  not compared, takes no mask: torch: maskless" in told
    assert any("torch: moved (whose failure it is)" in text for text in told)


def test_of_a_row_that_sees_nothing_the_definition_says_nothing() -> None:
    """Then it is only told who gives the same: NaN is like NaN."""
    call = dict(heard(find_one(moved), *failure("moved", SHOWN)))
    hidden = np.zeros_like(np.asarray(call["arguments"]["mask"]), dtype=np.bool_)
    nothing = np.full_like(np.asarray(call["allowed"]), np.inf)
    call |= {"arguments": {"mask": hidden.tolist()}, "allowed": nothing.tolist()}
    found = Compared("it", "of an empty row", call)
    for name, function in (("torch's", right), ("also torch's", moved), ("the formula", written)):
        found.add(name, answered(find_one(function), call))
    assert found.groups() == [["torch's", "also torch's"], ["the formula"]]
    assert np.isnan(found.outputs["the formula"]).all()
    told = list(telling.lines(found))
    assert any("for other such rows it gives " in text for text in told)
    assert told[-1] == "  2 of 3 give A, 1 of 3 gives B, nothing is defined here"


def in_two_ways(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None
) -> Tensor:
    """A row that sees nothing gives NaN, or zeros where there is one query."""
    mixed = written(query, key, value, attn_mask)
    return mixed.nan_to_num() if query.shape[2] == 1 else mixed


def test_of_such_rows_one_is_shown_that_is_not_answered_as_usual() -> None:
    """That is what the law is about."""
    law = "mask/empty-row-is-answered-as-ever"
    call = heard(find_one(in_two_ways), *failure("in_two_ways", law))
    assert (call["off"], call["odd"]) == (False, True)
    assert np.isnan(call["right"]).any()
    assert not np.isnan(call["answer"]["output"]).any()


def test_modules_are_filled_with_the_same_weights_where_they_can_be() -> None:
    """One of another kind is told, and not asked."""
    call = heard(find_one(Doubled), *failure(Doubled, OUTPUT))
    found = Compared("it", OUTPUT, call)
    for name, target in (("it", Doubled), ("ours", MultiHeadAttention), ("torch's", right)):
        found.add(name, answered(find_one(target), call))
    assert found.groups() == [["it"], ["ours"]]
    assert found.agrees(found.outputs["ours"])
    assert not found.agrees(found.outputs["it"])
    assert found.answers["torch's"] == "takes queries, keys and values"
    wrapper = find_one("attention:MultiHeadAttentionWrapper")
    assert str(answered(wrapper, call)["reason"]).startswith("is another kind of module: family")


def test_where_no_call_is_off_there_is_nothing_to_compare() -> None:
    """A right one, held to a case that another fails on."""
    assert heard(find_one(right), *failure("moved", SHOWN)) == {}
    assert list(telling.lines(Compared("it", "a law", {})))[1:] == [f"  {telling.ALONE}"]


def test_failures_of_a_report_are_compared_from_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing else is asked; who fails is not asked a second time as a line."""
    file = tmp_path / "report.json"
    document.write([report("moved", SHOWN)], file)
    monkeypatch.setattr(listed, "lines", lambda: (line("right"), line("moved")))
    assert main(["survey", "--compare", str(file)]) == 0
    printed = capsys.readouterr().out
    assert "1 of 2 gives A, 1 of 2 gives B, the definition gives B" in printed
    assert printed.count(":moved") == 2  # once above the table, once in it


def test_who_is_gone_since_the_report_is_told_and_the_others_are_compared() -> None:
    """One that cannot be asked ends nothing."""
    there, gone = (Failing.line(line(name), report("moved", SHOWN)) for name in ("moved", "gone"))
    told = compared([gone, there], [line("right")], 60.0, lambda _: lambda *_: None)
    assert "has no gone" in list(telling.lines(told[0]))[1]
    assert told[1].groups() == [["torch: moved"], ["torch: right"]]


def test_a_file_that_is_no_report_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "other.json"
    file.write_text('{"schema": "another/1"}', encoding="utf-8")
    with pytest.raises(QuestionError, match="check TARGET --json"):
        comparing.read(file)


@pytest.mark.parametrize(
    ("one", "other", "bound", "near"),
    [
        (1.0, 1.5, 0.5, True),
        (1.0, 1.6, 0.5, False),
        (np.nan, np.nan, 0.5, True),
        (np.nan, 1.0, 0.5, False),
        (np.nan, 1.0, np.inf, True),
        (np.inf, np.inf, 0.5, True),
        (np.inf, -np.inf, 0.5, False),
    ],
)
def test_answers_are_alike_within_the_bound(
    one: float, other: float, bound: float, near: bool
) -> None:
    assert within(*map(np.asarray, (one, other, bound))) is near
