"""The command `faults`: what it answers, prints and writes, on a few faults by name."""

from __future__ import annotations

import json
from concurrent.futures import Future
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from properties.cli import main
from properties.reports import matrix_page, matrix_picture, matrix_summary
from properties.runs.engines import Ask, Engine, Here, started
from properties.runs.failures import Failures
from properties.runs.journal import Journal
from properties.spec.clause import clauses
from properties.zoo import matrix
from properties.zoo.faults import Fault, faults
from properties.zoo.faults.plain import PlainSimplified
from properties.zoo.matrix import First, Matrix, Row, Size

SCALED = "scale-in-simplified-attention"
UNEXPONENTIATED = "sum-without-exponential-of-simplified-attention"
FEW = (SCALED, UNEXPONENTIATED)  # of the family with the fewest clauses
ODDS = "weights/log-odds-are-scaled-score-differences"
SVG = "{http://www.w3.org/2000/svg}"
RIGHT = Fault(
    "right-after-all", PlainSimplified, "plain", ("oracle/output-within-bound",), "none", "here"
)


def hand_made(*rows: Row) -> Matrix:
    """A matrix of these rows and of the clauses in them, all of which have to kill."""
    ids = list(dict.fromkeys(id for row in rows for id in row.names))
    return Matrix("quick", 0, True, [row.fault for row in rows], ids, ids, list(rows))


def row(fault: str, *killers: str, names: tuple[str, ...] = (ODDS,), symptom: str = "") -> Row:
    """What became of a fault that these clauses saw."""
    first = First(killers[0], "MUST", 1, 0.5, Size(1, 2, 1, 1)) if killers else None
    return Row(fault, "scale", "plain", symptom, "", names, first, dict.fromkeys(killers, 1))


def without_seconds(found: Row) -> Row:
    """What has to be the same in every run."""
    return replace(found, first=found.first and replace(found.first, seconds=0.0))


class Page(HTMLParser):
    """The text of each element by tag, and the elements that a page without scripts has not."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: dict[str, list[str]] = {}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.open.append(tag)

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.setdefault(self.open[-1], []).append(data)


def test_the_matrix_as_json_names_every_kill(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each fault with its first counterexample and killers, each clause with its kills."""
    path = tmp_path / "matrix.json"
    assert main(["faults", *FEW, "--matrix", str(path)]) == 0
    found = json.loads(path.read_text(encoding="utf-8"))
    assert found["schema"] == "attention-properties/faults/1"
    assert (found["holds"], found["full"], found["survivors"], found["idle"]) == (
        True,
        True,
        [],
        [],
    )
    assert {fault["fault"] for fault in found["faults"]} == set(FEW)
    for fault in found["faults"]:
        assert set(fault["names"]) <= set(fault["alone"])  # asked alone, none blocks another
        assert fault["first"]["examples"] >= 1
        assert set(fault["first"]["size"]) == set("BTHD")
        assert all(size == 1 for axis, size in fault["first"]["size"].items() if axis == "H")
    kills = {clause["id"]: clause["kills"] for clause in found["clauses"]}
    assert set(kills[ODDS]) == set(FEW)
    assert kills["dropout/unbiased"] == []
    out = capsys.readouterr().out
    assert "2 faults" in out
    assert "none survives" in out


def test_the_matrix_as_pictures_says_what_it_shows(tmp_path: Path) -> None:
    """A summary, and beside it every clause that has to kill; well-formed, the claim as title."""
    path = tmp_path / "matrix.svg"
    assert main(["faults", SCALED, "--matrix", str(path)]) == 0
    summary, whole = (
        ElementTree.parse(file).getroot() for file in (path, tmp_path / "matrix-in-full.svg")
    )
    for root in (summary, whole):
        assert root.findtext(f"{SVG}title") == "1 fault, 1 clause: none survives"
    assert ODDS in {"".join(text.itertext()) for text in whole.iter(f"{SVG}text")}
    assert whole.find(f"{SVG}path[@class='kill']").get("d")


def test_the_summary_counts_faults_by_kind_and_area_in_letters_that_can_be_read() -> None:
    """Two of three faults of a file are seen by an area; 830 units wide, at least 11 high."""
    other = "shape/output-shape"
    rows = [row("a", ODDS, names=(ODDS, other)), row("b", ODDS, other), row("c", other)]
    root = ElementTree.fromstring(matrix_summary.svg(hand_made(*rows)))
    said = [text.text for text in root.iter(f"{SVG}text")]
    assert said[2:] == ["scale", "2", "2", "3", "weights", "shape", "faults"]
    assert root.get("viewBox").startswith("0 0 830 ")
    assert "font-size: 11.5px" in root.findtext(f"{SVG}style")


def test_the_matrix_as_a_page_needs_nothing_else(tmp_path: Path) -> None:
    """A heading, a row for each fault, no script, nothing loaded from elsewhere."""
    path = tmp_path / "matrix.html"
    assert main(["faults", SCALED, "--matrix", str(path)]) == 0
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert page.texts["h1"] == ["1 fault, 1 clause: none survives"]
    assert SCALED in page.texts["th"]
    assert ODDS in page.texts["code"]
    assert "script" not in page.open
    assert "src=" not in text
    assert 'href="http' not in text


def test_a_fault_that_lives_is_named_and_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A right module that is called a fault survives, and the clause it names kills nothing."""
    monkeypatch.setitem(faults(), RIGHT.name, RIGHT)
    assert main(["faults", RIGHT.name]) == 1
    out = capsys.readouterr().out
    assert "right-after-all: SURVIVES" in out
    assert "survivors: right-after-all" in out
    assert "clauses that kill nothing: oracle/output-within-bound" in out


def test_a_clause_that_kills_nothing_is_named_and_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Though the fault dies, a clause that it is said to break does not see it."""
    known = faults()[SCALED]
    wrong = replace(known, name="scale-again", breaks=(*known.breaks, "state/input-untouched"))
    monkeypatch.setitem(faults(), wrong.name, wrong)
    assert main(["faults", wrong.name]) == 1
    out = capsys.readouterr().out
    assert "survivors: none" in out
    assert "clauses that kill nothing: state/input-untouched" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["scale-in-simplified-atention"], f"did you mean {SCALED}"),
        ([SCALED, "--profile", "slow"], "expected one of quick, ci, thorough"),
        ([SCALED, "--matrix", "no/such/folder/m.svg"], "existing folder"),
        ([SCALED, "--matrix", "m.png"], "use .svg, .html, .json"),
        ([SCALED, "--matrix", "m"], "use .svg, .html, .json"),
    ],
)
def test_a_bad_question_is_known_before_the_work(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, one message, nothing on standard output."""
    assert main(["faults", *arguments]) == 2
    out, err = capsys.readouterr()
    assert said in err
    assert out == ""


@pytest.mark.parametrize("jobs", ["0", "-1", "two", "1.5"])
def test_a_number_of_processes_is_one_or_more(
    jobs: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2 from the parser, which names the option."""
    with pytest.raises(SystemExit) as stopped:
        main(["faults", SCALED, "--jobs", jobs])
    assert stopped.value.code == 2
    assert "--jobs" in capsys.readouterr().err


class Unable(Here):
    """Nothing is asked of it."""

    def submit(self, ask: Ask, piece: Any) -> Future[Any]:
        raise AssertionError(f"asked again: {piece}")


def filled(engine: Engine, results: Path) -> list[Row]:
    """The rows of a small matrix."""
    question = matrix.prepare(FEW, "quick", 3, full=False)
    with Journal(results) as journal:
        matrix.fill(question, engine, journal, lambda *_: None, lambda _: None)
    return question.rows


def test_the_same_seed_gives_the_same_matrix_in_any_process(tmp_path: Path) -> None:
    """Kills, examples, sizes and order do not depend on who computes them."""
    here = filled(Here(), tmp_path / "here")
    with started("local", 2, None) as processes:
        there = filled(processes, tmp_path / "there")
    assert [without_seconds(found) for found in here] == [without_seconds(found) for found in there]


def test_a_finished_row_is_not_asked_again(tmp_path: Path) -> None:
    """An interrupted matrix goes on where it was, with the same rows."""
    before = filled(Here(), tmp_path / "rows")
    assert filled(Unable(), tmp_path / "rows") == before


def test_the_report_fits_eighty_columns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a pipe no line is longer, and none ends in blanks."""
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["faults", UNEXPONENTIATED]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert [line for line in lines if line != line.rstrip()] == []


def test_the_first_failure_of_a_row_is_given_neither_name_nor_picture(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    explained: list[str] = []
    monkeypatch.setattr(Failures, "explain", lambda failures: explained.append("first"))
    row = matrix.row("scale-by-d-out", profile="quick", seed=0, full=False)
    assert row.first is not None
    assert not explained


def test_a_single_killer_is_known_to_a_full_matrix_alone() -> None:
    """Where not every clause was asked, none is said to be the only one."""
    full = hand_made(row("a", ODDS), row("b", ODDS, "shape/output-shape"))
    assert full.single[ODDS] == ["a"]
    assert replace(full, full=False).single[ODDS] == []


def test_what_fails_on_right_attention_too_kills_nothing() -> None:
    """A clause that MAY hold is no part of the matrix."""
    asked = matrix.prepare([], "quick", 0, full=True).clauses
    assert {clauses()[id].level for id in asked} == {"MUST", "SHOULD"}
    assert set(asked) == {id for id, clause in clauses().items() if clause.level != "MAY"}


def test_survivors_and_idle_clauses_stand_out_in_the_picture() -> None:
    """A column and a label of their own colour, and the legend says which."""
    names = (ODDS, "shape/output-shape")
    root = ElementTree.fromstring(
        matrix_picture.svg(hand_made(row("lives", names=names), row("dies", ODDS, names=names)))
    )
    assert root.findtext(f"{SVG}title") == (
        "2 faults, 2 clauses: 1 survives, 1 clause kills nothing"
    )
    marked = [element.tag for element in root.iter() if element.get("class") == "bad"]
    assert marked == [f"{SVG}rect", f"{SVG}text", f"{SVG}rect"]  # legend, clause, fault


def test_what_a_fault_says_is_not_taken_for_markup() -> None:
    """Angle brackets and quotes in a symptom reach the reader as they are."""
    told = 'loss < 1 & "falls" <script>alert(1)</script>'
    page = Page(matrix_page.page(hand_made(row("a", ODDS, symptom=told))))
    assert "script" not in page.open
    assert told in page.texts["td"]
