"""Conventions are found, printed, and held."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from properties import check, diff
from properties.basics.errors import QuestionError
from properties.cases.strategies import pinned_cases
from properties.cli import main
from properties.recognition.targets import find
from properties.reports import card as words
from properties.reports import statement
from properties.reports.page import as_html
from properties.reports.terminal import report_lines
from properties.runs.result import Report
from properties.runs.runner import quiet_and_repeatable
from properties.runs.tally import judge
from properties.spec.clause import clauses
from properties.subjects.call import ANSWERS, CONCERNS, ROLES
from properties.subjects.card import card
from properties.subjects.declaring import parse
from properties.subjects.subject import Subject
from properties.zoo.wide import held_ones, sound_ones

SDPA = "torch.nn.functional:scaled_dot_product_attention"
SOUND = {n: s for n, s in sound_ones().items() if s.kind in ("sdpa-like", "flash-like")}
SAID = {
    "mask": ("mask", {"attends": "attend", "hides": "hide"}),
    "corner": ("align", {}),
    "empty": ("empty", {"zero": "zeros"}),
    "window": ("window", {"counts oneself": "counting oneself"}),
    "lse": ("lse", {}),
    "heads": ("lse_axes", {"(B, H, T)": "B H T", "(B, T, H)": "B T H"}),
}
"""The words of the specimens, and ours."""


def ours(says: dict[str, str]) -> dict[str, str]:
    """What a specimen says of itself, as conventions."""
    return {name: known.get(says[w], says[w]) for w, (name, known) in SAID.items() if w in says}


def broken(subject: Subject) -> set[str]:
    """The laws about calls that pinned examples break."""
    areas = {"mask", "cross", "window", "score", "result"}
    laws = [c for c in clauses().values() if c.area in areas and c.concerns(subject)]
    with quiet_and_repeatable():
        cases = pinned_cases(subject)
        return {law.id for law in laws for c in cases if judge(law, c).status != "pass"}


def lines(of: Subject) -> list[str]:
    return [text for _, text in words.told(card(of))]


def test_torchs_attention_in_words() -> None:
    """What its documentation says of its mask, its flag and its layout."""
    said = lines(find(SDPA)[0])
    for line in (
        "boolean mask: True attends (as torch's scaled_dot_product_attention promises)",
        "diagonal where T is not S: top left (found by trial)",
        "a row that sees nothing: zeros (found by trial)",
        "layout: (B, H, T, D) (found by trial)",
        "dropout: argument dropout_p",
        "is_causal: whether the future is hidden",
    ):
        assert line in said


@pytest.mark.parametrize("name", SOUND)
def test_what_a_right_function_says_of_itself_is_found(name: str) -> None:
    """The card agrees wherever the convention concerns it."""
    found = find(SOUND[name].target)[0]
    said = ours(dict(SOUND[name].says))
    kept = {n: each["answer"] for n, each in card(found).conventions.items()}
    assert {n: kept[n] for n in said if n in kept} == {n: a for n, a in said.items() if n in kept}
    assert {"align"} < kept.keys()


def test_how_a_convention_is_known_is_told() -> None:
    """By trial, by the names of arguments, by the docstring, or because it is declared."""
    found = card(find(SOUND["sdpa-true-hides-by-exponentials"].target)[0]).conventions
    assert found["mask"] == {"answer": "hide", "found": "docstring"}
    assert found["align"]["found"] == "trial"
    declared = card(find(SDPA, conventions={"align": "bottom right"})[0]).conventions
    assert declared["align"] == {"answer": "bottom right", "found": "declared"}
    assert declared["mask"]["found"].startswith("signature of torch")


def test_an_unusual_convention_gets_a_remark_and_no_failure() -> None:
    """A function with the arguments of flash attention that hides from the top left."""
    target = held_ones()["flash-causal-from-the-top-left"].target
    remark = "convention align is top left; a signature like that of flash attention"
    (subject,) = find(target)
    assert any(note.startswith(remark) for note in subject.notes)
    assert broken(subject) == set()
    (usual,) = find(SOUND["flash-in-one-matrix"].target)
    assert not any(note.startswith("convention ") for note in usual.notes)


FITTING = ["sdpa-causal-from-the-top-left", "flash-causal-from-the-top-left"]


@pytest.mark.parametrize("name", FITTING)
def test_what_fits_another_convention_is_wrong_where_one_is_declared(name: str) -> None:
    specimen = held_ones()[name]
    assert broken(find(specimen.target)[0]) == set()
    assert broken(find(specimen.target, conventions=ours(dict(specimen.says)))[0])


@pytest.mark.parametrize("name", SOUND)
def test_a_right_function_is_right_by_the_conventions_that_it_says(name: str) -> None:
    said = ours(dict(SOUND[name].says))
    assert broken(find(SOUND[name].target, conventions=said)[0]) == set()


@pytest.mark.parametrize(
    ("declared", "broken_law"),
    [
        ({"mask": "hide"}, "mask/"),
        ({"align": "bottom right"}, "cross/"),
        ({"empty": "nan"}, "mask/"),
    ],
)
def test_torch_is_wrong_by_another_convention(declared: dict[str, str], broken_law: str) -> None:
    assert any(id.startswith(broken_law) for id in broken(find(SDPA, conventions=declared)[0]))


def test_a_declaration_that_means_nothing_of_a_subject_is_told() -> None:
    (subject,) = find(SDPA, conventions={"window": "others"})
    assert any("declared convention window means nothing of it" in n for n in subject.notes)
    assert "window" not in card(subject).conventions


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["colour=red"], "no convention 'colour'"),
        (["mask=maybe"], "no answer 'maybe'"),
        (["mask"], "no answer ''"),
        (["mask=hide", "mask=attend"], "declared as 'hide' and as 'attend'"),
    ],
)
def test_a_convention_that_is_not_known_cannot_be_declared(asked: list[str], said: str) -> None:
    with pytest.raises(QuestionError, match=said):
        parse(asked)


@pytest.mark.parametrize("command", ["check", "describe"])
def test_the_command_line_lists_what_is_known(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, SDPA, "--convention", "mask=maybe"]) == 2
    assert "mask=attend or hide" in capsys.readouterr().err


def test_a_declared_convention_is_part_of_the_command_that_asks_again() -> None:
    report = check(SDPA, profile="quick", only=["shape/output-shape"], conventions={"mask": "hide"})
    assert report.options == ["--convention", "mask=hide"]
    assert report.conventions["mask"] == {"answer": "hide", "found": "declared"}
    assert report.takes["mask"] == "attn_mask"
    again = Report.from_dict(json.loads(json.dumps(report.to_dict())))
    assert again.conventions == report.conventions


def test_every_report_has_the_card_in_two_lines() -> None:
    """Below the verdict, on a screen of 80 columns."""
    report = check(SDPA, profile="quick", only=["shape/output-shape"])
    shown = [line.plain for line in report_lines(report, 80, verbose=False)]
    first = next(n for n, line in enumerate(shown) if "asked by attn_mask" in line)
    assert first < 4
    assert "True attends, diagonal top left" in " ".join(map(str.strip, shown[first : first + 2]))
    assert shown[first + 2] == ""


def test_a_statement_keeps_what_was_declared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And asks by it again; a statement of before, without conventions, is still read."""
    file = tmp_path / "s.json"
    only = ["--profile", "quick", "--only", "score/default-scale"]
    asked = ["--convention", "align=bottom right", "--statement", str(file)]
    assert main(["check", SDPA, *only, *asked]) == 0
    (claim,) = json.loads(file.read_text(encoding="utf-8"))["claims"]
    assert statement.declared(claim) == {"align": "bottom right"}
    assert main(["verify", str(file)]) == 0
    found = copy.deepcopy(claim)
    found["conventions"]["align"]["answer"] = "top left"
    assert list(statement.differences(claim, found)) == [
        "convention align: stated bottom right, now top left"
    ]
    before = {n: v for n, v in claim.items() if n not in statement.LATER}
    statement.require_claim("s.json", before)
    assert list(statement.differences(before, found)) == []
    with pytest.raises(QuestionError, match="damaged"):
        statement.require_claim("s.json", {**claim, "conventions": {"mask": "hide"}})


def test_the_page_has_the_card() -> None:
    page = as_html([check(SDPA, profile="quick", only=["shape/output-shape"])])
    assert "True attends, diagonal top left" in page
    assert "boolean mask: True attends (as torch" in page
    assert "<code>attn_mask</code>: which keys a query sees" in page


def test_both_sides_of_a_comparison_are_held_to_what_is_declared() -> None:
    found = diff(SDPA, SDPA, profile="quick", only=["cross"], conventions={"align": "bottom right"})
    assert found.options[-2:] == ["--convention", "align=bottom right"]
    assert found.same


def test_every_answer_and_every_role_has_its_words() -> None:
    assert words.WORDS.keys() == ANSWERS.keys() == CONCERNS.keys()
    for name, answers in ANSWERS.items():
        assert words.WORDS[name].keys() == {*answers, ""}
    groups = (roles for concerned in CONCERNS.values() for roles in concerned)
    assert {role for roles in groups for role in roles} <= ROLES.keys()


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(["describe", *arguments])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_the_command_prints_cards_as_text_and_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, SDPA)
    assert code == 0
    assert out.startswith(f"{SDPA}\n  family        multihead: ")
    code, out, _ = run(capsys, SDPA, "--json")
    document: Any = json.loads(out)
    assert code == 0
    assert document["schema"] == "attention-properties/card/1"
    assert document["cards"][0]["conventions"]["mask"]["answer"] == "attend"


LOST = "import os\ndef attention(query, key, value, attn_mask=None): os._exit(3)\n"


@pytest.mark.parametrize(
    ("write", "arguments", "said"),
    [
        (lambda p: None, ["nothing:Attention"], "no module nothing"),
        (lambda p: None, [SDPA, "--family", "triangle"], "no family 'triangle'"),
        (lambda p: p.write_text(LOST), ["t.py:attention"], "ended the process with exit code 3"),
    ],
)
def test_what_cannot_be_described_is_said(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    write: Callable[[Path], object],
    arguments: list[str],
    said: str,
) -> None:
    """Exit code 2, and why."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "t.py")
    code, _, err = run(capsys, *arguments)
    assert code == 2
    assert said in err


def test_a_mask_that_is_added_to_the_scores_is_told_below_the_verdict() -> None:
    """A boolean in it is added as one or zero, and hides nothing: who means one sees it there."""
    assert words.brief({"bias": "mask"}, {}) == "asked by mask; mask is added to the scores"
    assert words.brief({"mask": "mask", "bias": "mask"}, {}) == "asked by mask"
