"""The survey: what is asked is data, what is not installed is said, and the page is drawn from the rows."""

from __future__ import annotations

import ast
import json
import os
import sys
from pathlib import Path

import pytest

from properties import check
from properties.basics.errors import QuestionError
from properties.cli import main
from properties.survey import asking, document, libraries, page
from properties.survey import lines as listed
from properties.survey.lines import Line, chosen, lines
from properties.survey.row import Row, refused, row

DOCS = Path(__file__).parents[2] / "docs"
FILES = sorted(Path(libraries.__path__[0]).glob("[a-z]*.py"))
ABSENT = Line("no-such-library", "its attention", "no_such_library:Attention")
OURS = Line("torch", "one law of the reference", "attention:MultiHeadAttention")


def test_no_two_lines_are_called_alike() -> None:
    """A row is found by its name."""
    names = [line.name for line in lines()]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_library_is_imported_only_when_it_is_used(file: Path) -> None:
    """Else no other could be asked where it is absent."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    roots = {
        name.partition(".")[0]
        for node in tree.body
        for name in (
            [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else []
        )
    }
    assert roots <= {"numpy", "properties", "torch", *sys.stdlib_module_names}


@pytest.mark.parametrize("line", lines(), ids=lambda line: line.name)
def test_what_a_line_names_here_is_there(line: Line) -> None:
    """A function, a factory or a subject of ours; a library that it is made of may be absent."""
    module, _, name = line.target.partition(":")
    if module.startswith("properties.") and not line.missing:
        assert callable(getattr(sys.modules[module], name))


def test_a_library_that_no_line_is_of_is_refused_by_those_that_are() -> None:
    with pytest.raises(QuestionError, match=r"no library transfomers. Did you mean transformers"):
        list(chosen(["transfomers"]))


def test_what_is_not_installed_is_said_and_is_no_verdict(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(listed, "lines", lambda: (ABSENT,))
    assert main(["survey"]) == 2
    assert capsys.readouterr().out == (
        "no-such-library: its attention: not installed: no-such-library\n"
    )


def test_a_row_says_what_a_report_says() -> None:
    """How many laws hold, by what margin, and by which conventions."""
    report = check(OURS.target, profile="quick", only=["oracle/output-within-bound"])
    found = row(OURS, report)
    assert (found.verdict, found.holding, found.family) == ("right", found.laws, "multihead")
    assert found.margin is not None
    assert 0.0 < found.margin < 1.0
    assert found.conventions["dropout"] == "dropout"
    assert Row(**document.restored(json.loads(json.dumps(found.data())))) == found


def test_variables_of_a_line_are_set_while_it_is_asked_and_not_after(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What was there before is there again."""
    monkeypatch.setenv("CHOSEN", "before")
    monkeypatch.delenv("NEW", raising=False)
    with asking.environment({"CHOSEN": "for now", "NEW": "for now"}):
        assert (os.environ["CHOSEN"], os.environ["NEW"]) == ("for now", "for now")
    assert os.environ["CHOSEN"] == "before"
    assert "NEW" not in os.environ


def test_what_cannot_be_asked_is_a_row_with_its_reason() -> None:
    found = asking.ask(ABSENT, {"profile": "quick", "seed": 0, "only": None}, 60.0, lambda *_: None)
    assert found.verdict == "refused"
    assert found.reason == "There is no module no_such_library."


def test_new_rows_take_the_place_of_old_ones() -> None:
    """Those of libraries that were not asked are kept, in the order of the lines."""
    one, other = (Line("torch", path, "torch:x") for path in ("one", "other"))
    old = [refused(other, "then"), refused(one, "then")]
    kept = document.renewed(old, [refused(one, "now")], [one.name, other.name])
    assert [(r.path, r.reason) for r in kept] == [("one", "now"), ("other", "then")]


def test_the_page_of_the_survey_is_drawn_from_its_rows() -> None:
    """If not, `attention-properties survey --json docs/survey.json --page docs/survey.md` draws it."""
    shown = (DOCS / "survey.md").read_text(encoding="utf-8")
    content = document.read(DOCS / "survey.json")
    assert page.replaced(shown, content, "docs/survey.md") == shown


def test_the_rows_of_the_page_are_lines_of_today() -> None:
    """A line that is gone takes its row along; what is not right is told as a finding."""
    rows = document.rows(document.read(DOCS / "survey.json"))
    assert {r.name for r in rows} <= {line.name for line in lines()}
    findings = (DOCS / "findings.md").read_text(encoding="utf-8")
    untold = [r.name for r in rows if r.verdict == "not right" and r.library not in findings]
    assert untold == []


def test_a_page_without_marks_is_refused() -> None:
    with pytest.raises(QuestionError, match="write them where the tables go"):
        page.replaced("# A page\n", {"rows": []}, "page.md")
