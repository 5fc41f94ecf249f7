"""The page: complete, escaped, self-contained, with a pair of pictures for each failure."""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from properties import check
from properties.recognition.targets import find
from properties.reports.heatmap import DARK, pair
from properties.reports.page import as_html, in_a_frame, write
from properties.runs.result import Report, Result, Status
from properties.runs.runner import run
from properties.spec.clause import clauses
from properties.zoo.faults import faults

VOID = {"meta", "br", "path", "rect", "link", "img", "input", "hr"}
HOSTILE = "</title></style><script>alert(1)</script><img src=x onerror=alert(2)>\"'&\udc80"


class Page(HTMLParser):
    """What a page is made of; raises where an element is closed that is not open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.ids: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.open: list[str] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += attrs
        self.ids += [value or "" for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += attrs


@pytest.fixture(scope="module")
def failing() -> Report:
    """A module without the scale, asked for its weights."""
    fault = faults()["scale-absent"]
    only = ["weights/log-odds-are-scaled-score-differences"]
    return run(find(fault.module, fault.family)[0], profile="quick", only=only)


@pytest.fixture
def passing(failing: Report) -> Report:
    """A report in which every clause of the specification holds."""
    results = [
        Result(clause.id, str(clause.level), Status.PASS, examples=31, counted=20, margin=0.036)
        for clause in clauses().values()
    ]
    return replace(failing, results=results, findings=[])


def test_every_clause_has_its_place_with_requirement_and_reason(passing: Report) -> None:
    """An id of its own, and the text of the specification unfolds below it."""
    text = as_html([passing])
    page = Page(text)
    for clause in clauses():
        assert f"r0/{clause}" in page.ids
    areas = {clause.area for clause in clauses().values()}
    assert page.tags["details"] == len(clauses()) + len(areas)
    assert "The attention weights of every query sum to one." in text
    assert ">right</strong>" in text
    assert not page.tags["svg"]


def test_ids_are_unique_and_links_arrive_also_with_several_reports(
    passing: Report, failing: Report
) -> None:
    """Two subjects have the same clauses."""
    page = Page(as_html([failing, passing, failing]))
    assert max(Counter(page.ids).values()) == 1
    targets = [value or "" for name, value in page.attributes if name == "href"]
    assert targets
    assert all(target.removeprefix("#") in page.ids for target in targets)
    labels = [value or "" for name, value in page.attributes if name == "aria-labelledby"]
    assert all(id in page.ids for label in labels for id in label.split())


def test_each_failure_has_a_pair_of_pictures_and_its_commands(failing: Report) -> None:
    """Expected and got, with titles and descriptions for those who do not see them."""
    text = as_html([failing])
    page = Page(text)
    assert page.tags["svg"] == 2 * len(failing.failed) == 2
    assert page.tags["desc"] == 2
    assert text.count('class="off"') == 14
    assert f"{failing.findings[0].name} <a" in text
    assert "14 off: query 1, key 0: expected 0.4727" in text
    clause = failing.failed[0]
    named = f"{failing.subject} --family {failing.family}"
    assert f"check {named} --only {clause} --profile quick --seed 0" in text
    assert f"attention-properties explain {clause}" in text
    assert "x = [[[0.], [1.]]]" in text


def test_what_a_subject_says_is_text_and_never_markup(failing: Report, tmp_path: Path) -> None:
    """Its name, its messages, its own names and notes."""
    results = [
        replace(r, message=HOSTILE, behaves_like=[HOSTILE]) if r.status is Status.FAIL else r
        for r in failing.results
    ]
    finding = replace(failing.findings[0], name=HOSTILE, look=HOSTILE, message=HOSTILE)
    hostile = replace(
        failing,
        subject=HOSTILE,
        results=[replace(r, script=HOSTILE) for r in results],
        findings=[finding, replace(finding, kind="advice")],
        source={"file": HOSTILE, "line": 1},
        matched={"query": HOSTILE},
        lacking={"dropout": HOSTILE},
        notes=[HOSTILE],
        versions={HOSTILE: HOSTILE},
    )
    file = tmp_path / "page.html"
    write([hostile, hostile], file)
    page = Page(file.read_text(encoding="utf-8"))
    assert page.tags["script"] == 1
    assert not page.tags["img"]
    assert not any(name.startswith("on") for name, _ in page.attributes)
    assert page.tags["title"] == Page(as_html([failing, failing])).tags["title"]
    framed = Page(in_a_frame(hostile))
    assert set(framed.tags) == {"iframe"}


def test_nothing_is_loaded_and_no_script_but_our_own_may_run(failing: Report) -> None:
    """The page works where there is no network, and a policy names the one script by its hash."""
    text = as_html([failing])
    page = Page(text)
    assert page.tags["script"] == 1
    (script,) = re.findall("<script>(.*)</script>", text, re.DOTALL)
    known = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{known}'"
    assert policy in html.unescape(text)
    assert not {"link", "img", "iframe", "object", "base"} & set(page.tags)
    assert not any(name in ("src", "srcset", "data") for name, _ in page.attributes)
    assert not re.search(r"url\(|@import|@font-face|https?://", text)


@pytest.mark.parametrize("status", list(Status))
def test_every_status_has_a_sign_beside_its_word(passing: Report, status: Status) -> None:
    """No status is told by colour alone; a report of any of them is drawn."""
    first, *others = passing.results
    text = as_html([replace(passing, results=[replace(first, status=status), *others])])
    Page(text)
    said = {"unsupported": "not asked", "blocked": "waits"}.get(status, status)
    assert re.search(rf'aria-hidden="true">\S</span> {said}</span>', text)


def test_what_could_not_be_asked_and_what_was_lost_is_said(passing: Report) -> None:
    """In part, and in error."""
    first, second, *others = passing.results
    missing = replace(first, status=Status.UNSUPPORTED, message="needs projections")
    text = as_html([replace(passing, results=[missing, second, *others])])
    assert ">right in part</strong>" in text
    assert f"not asked: {first.clause}; needs projections" in text
    lost = replace(second, status=Status.ERROR, message="killed the process by SIGSEGV")
    text = as_html([replace(passing, results=[first, lost, *others])])
    assert ">no verdict</strong>" in text
    assert "killed the process by SIGSEGV" in text


def test_a_subject_that_could_not_be_asked_has_its_reason_and_no_clauses() -> None:
    """Beside others it is no verdict, not a wrong one."""
    text = as_html([Report.refused("b.py:B", "ci", 0, "B() raised ValueError: no.")])
    Page(text)
    assert '>no verdict</strong><br><span class="rest">it could not be asked<' in text
    assert text.count("B() raised ValueError: no.") == 1
    assert "Every clause" not in text


def test_the_versions_the_names_and_the_false_alarm_probability_are_there(passing: Report) -> None:
    """What it takes to see the same again."""
    text = as_html([replace(passing, false_alarm=1e-9)])
    for name, version in passing.versions.items():
        assert f"{name} {version}" in text
    assert "W_query.weight (transposed)" in text
    assert "probability at most 1e-9 per run" in text


def test_areas_in_which_everything_holds_are_folded(passing: Report) -> None:
    """The others are open; a box leaves what is not pass."""
    broken = [
        replace(r, status=Status.FAIL) if r.clause == "state/deepcopy" else r
        for r in passing.results
    ]
    text = as_html([replace(passing, results=broken)])
    assert re.search(r'<details class="area passed">\s*<summary>dropout ', text)
    assert re.search(r'<details class="area" open>\s*<summary>state ', text)
    assert text.count(" passed") == len({c.area for c in clauses().values()}) - 1
    assert ".report:has(.only:checked) .passed" in text


def test_the_head_says_both_halves_date_and_source_line(passing: Report) -> None:
    """The date is given, so that the same report makes the same page."""
    known = {"file": "src/a.py", "line": 7}
    taken = [
        replace(r, status=Status.FAIL, half="guarded") if r.clause == "error/wrong-rank" else r
        for r in passing.results
    ]
    text = as_html([replace(passing, results=taken, source=known)], "2026-11-25")
    head = text.partition("<h2>")[0]
    assert ">right</strong>" in head
    assert "<li>unguarded: 1 (wrong rank)</li>" in head
    assert "2026-11-25, src/a.py, line 7" in head
    assert as_html([passing]) == as_html([passing])
    assert "2026" not in as_html([replace(passing, source=known)])


def test_several_subjects_stand_side_by_side_above_their_reports(
    passing: Report, failing: Report
) -> None:
    """Both halves of each, and how many laws of each area hold."""
    text = as_html([passing, failing]).partition("<article")[0]
    assert text.count("<table") == 2
    weights = len([id for id in clauses() if id.startswith("weights/")])
    row = re.search(r"weights</th>(.*)</tr>", text)
    assert row
    asked = sum(r.clause.startswith("weights/") for r in failing.results)
    assert row[1].startswith(f"<td>{weights}/{weights}</td><td>{asked - 1}/{asked} (1 fail)")


def test_a_failure_has_its_script_where_one_was_asked_for(failing: Report) -> None:
    """Folded, with a place to copy it from."""
    results = [replace(r, script="import torch\n") for r in failing.results]
    text = as_html([replace(failing, results=results)])
    assert text.count("data-copy><pre") == as_html([failing]).count("data-copy><pre") + 1
    assert ">import torch\n</pre>" in text


def test_shades_follow_magnitudes_and_what_is_no_number_is_marked() -> None:
    """Both grids share one scale; NaN has no shade."""
    evidence = {
        "rows": "query",
        "columns": "key",
        "expected": [[0.0, 1.0]],
        "actual": [[-2.0, "nan"]],
        "off": [[0, 0], [0, 1]],
    }
    expected, actual = pair(evidence)
    assert [cell.shade for cell in expected.cells] == [0.0, 0.5]
    assert [cell.shade for cell in actual.cells] == [1.0, 0.0]
    assert [cell.style for cell in actual.cells] == ["negative", "strange"]
    assert actual.cells[0].shade > DARK
    assert [cell.text_style for cell in actual.cells] == ["on-dark", "on-light"]
    assert "query 0, key 1: expected 1.0, got nan" in actual.words


def test_a_notebook_shows_the_page_in_a_frame_of_its_own() -> None:
    """So that neither changes the other's looks."""
    report = check("attention:SelfAttention_v2", profile="quick", only=["shape/output-shape"])
    shown = report._repr_html_()
    assert shown.startswith("<iframe ")
    assert 'sandbox=""' in shown
    assert "&lt;!doctype html&gt;" in shown
