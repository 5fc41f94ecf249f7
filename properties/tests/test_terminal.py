"""The report as text: what a reader sees first, what a log keeps whole, what a grid shows."""

from __future__ import annotations

import re
from dataclasses import replace
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from properties.recognition.targets import find
from properties.reports import characters
from properties.reports.tables import margin
from properties.reports.terminal import show
from properties.runs.result import Finding, Report, Result, Status
from properties.runs.runner import run
from properties.spec.clause import clauses
from properties.zoo.faults import faults

CLAUSE = "causality/future-does-not-change-past"
NAME = "mask shows the next token: the diagonal is off by one"


@pytest.fixture(scope="module")
def failing() -> Report:
    """A module whose mask shows the next token, asked one clause."""
    fault = faults()["mask-shows-the-next-token"]
    return run(find(fault.module, fault.family)[0], profile="quick", only=[CLAUSE])


@pytest.fixture
def passing(failing: Report) -> Report:
    """A report in which every clause of the specification holds."""
    results = [
        Result(clause.id, str(clause.level), Status.PASS, examples=31, counted=20, margin=0.036)
        for clause in clauses().values()
    ]
    return replace(failing, results=results, findings=[])


def text(report: Report, width: int = 80, *, verbose: bool = False) -> str:
    """What is printed where there are no colours."""
    stream = StringIO()
    console = Console(file=stream, width=width, highlight=False, force_terminal=False)
    show(report, console, verbose=verbose)
    return stream.getvalue()


def test_the_verdict_comes_first_and_the_finding_follows_by_its_name(failing: Report) -> None:
    """Before any line of an area."""
    lines = text(failing).splitlines()
    assert f"not right: 1 finding ({NAME})" in lines[0]
    assert lines[2] == f"FAIL {NAME}"
    assert lines[3].startswith("  look for  ")
    assert f"  breaks    {CLAUSE}" in lines
    assert lines.index(next(line for line in lines if line.startswith("causality "))) > 15


def test_a_second_finding_is_short_unless_all_is_asked_for(failing: Report) -> None:
    """The first in full; the others without numbers and picture. What is likely the same is a line."""
    (failed,) = [r for r in failing.results if r.status is Status.FAIL]
    others = [replace(failed, clause=id) for id in ("shape/dtype-preserved", "state/deepcopy")]
    second = Finding(
        "fault",
        "MUST",
        ["shape/dtype-preserved"],
        ["state/deepcopy"],
        message=failed.message,
        counterexample=failed.counterexample,
    )
    several = replace(
        failing, results=[*failing.results, *others], findings=[*failing.findings, second]
    )
    said = text(several)
    assert f"not right: 2 findings ({NAME}, shape/dtype-preserved)" in said
    assert said.index(f"FAIL {NAME}") < said.index("FAIL shape/dtype-preserved")
    assert "  likely    the same: state/deepcopy\n" in said
    assert said.count("x = [[") == said.count("sees the future") == 1
    assert said.count("again     attention-properties check") == 2
    whole = text(several, verbose=True)
    assert whole.count("x = [[") == whole.count("sees the future") == 2


def test_what_the_subject_cannot_take_is_called_a_limit(failing: Report) -> None:
    """It stands first, by its name; what is told in full is what is wrong inside it."""
    limit = Finding("domain", "MUST", [CLAUSE], name="works only at T = context_length")
    said = text(replace(failing, findings=[limit, *failing.findings]))
    lines = said.splitlines()
    assert lines[2] == "LIMIT works only at T = context_length"
    assert said.count("x = [[") == said.count("sees the future") == 1
    assert said.index(f"FAIL {NAME}") < said.index("sees the future")
    assert "2 findings (works only at T = context_length, " in lines[0]


def lesser(clause: str, level: str = "MUST", half: str = "right") -> Result:
    """A failure that does not make a subject wrong."""
    message = "expected 2 axes refused; got an output"
    return Result(clause, level, Status.FAIL, message=message, half=half)


def test_what_does_not_make_it_wrong_takes_a_line_and_is_no_failure(passing: Report) -> None:
    """Bad input that is taken, an edge, what is advised; each with what was expected and what came."""
    others = [
        lesser("state/pickle", "SHOULD"),
        lesser("error/context-of-one-token", half="edge"),
        lesser("error/wrong-rank", half="guarded"),
    ]
    kept = [r for r in passing.results if r.clause not in {o.clause for o in others}]
    lines = text(replace(passing, results=[*kept, *others]), width=100).splitlines()
    assert lines[2:5] == [
        "unguarded  error/wrong-rank: expected 2 axes refused; got an output",
        "edge       error/context-of-one-token: expected 2 axes refused; got an output",
        "not met    state/pickle (SHOULD): expected 2 axes refused; got an output",
    ]
    assert "right: " in lines[0]
    assert "unguarded: 1 (wrong rank); edge: context_length = 1 leaks" in lines[0]
    assert "fail" not in "\n".join(lines)


def test_what_decides_under_strict_alone_is_said_to(passing: Report) -> None:
    """A right module whose exit code is 1 says why, also where there are no colours."""
    taken = [
        replace(r, status=Status.FAIL, half="guarded") if r.clause == "error/wrong-rank" else r
        for r in passing.results
    ]
    report = replace(passing, results=taken)
    assert "strict" not in text(report).splitlines()[0]
    first = text(replace(report, strict=True)).splitlines()[0]
    assert first.endswith("unguarded: 1 (wrong rank); not enough for --strict")


def test_the_probe_that_was_asked_stands_beside_the_smallest_case(failing: Report) -> None:
    """A message that tells of 12 tokens is not left beside a case of one."""
    probe = {
        "sizes": {
            "batch": 1,
            "tokens": 12,
            "heads": 2,
            "head_dim": 4,
            "d_in": 12,
            "context_length": 12,
        },
        "dtype": "bfloat16",
    }
    results = [replace(r, probe=probe) for r in failing.results]
    said = text(replace(failing, results=results))
    assert "  asked     B=1 T=12 H=2 D=4 d_in=12 context_length=12, bfloat16\n" in said
    assert "  smallest  made from B=1 T=2 H=1 D=1 " in said


def test_a_finding_and_the_areas_fit_one_screen(passing: Report, failing: Report) -> None:
    """80 columns by 45 lines, the command and the first line taken for two each, and every area that a
    module of x alone is asked about.
    """
    fault = faults()["mask-shows-the-next-token"]
    asked = find(fault.module, fault.family)[0]
    concerned = [r for r in passing.results if clauses()[r.clause].concerns(asked)]
    results = {r.clause: r for r in [*concerned, *failing.results]}
    lines = text(replace(failing, results=list(results.values()))).splitlines()
    assert sum(-(-max(1, len(line)) // 80) for line in lines) <= 45


def test_a_failure_says_what_was_required_expected_and_got_and_how_to_repeat_it(
    failing: Report,
) -> None:
    """All that a reader needs without another file."""
    said = text(failing)
    for label in ("requires", "expected", "got", "smallest", "B=1 T=2 H=1 D=1"):
        assert label in said
    command = f"attention-properties check {failing.subject} --family multihead --only {CLAUSE}"
    assert f"{command} --profile quick --seed 0\n" in said
    assert f"attention-properties explain {CLAUSE}\n" in said


def test_the_offending_cells_are_marked_without_colour(failing: Report) -> None:
    """Four cells beside the diagonal, in brackets."""
    rows = [line for line in text(failing).splitlines() if line.count("]") and "[" in line]
    grid = [row for row in rows if row.strip()[0].isdigit()]
    assert len(grid) == 4
    assert all(row.count("[") == 1 for row in grid)


def test_no_id_and_no_command_is_broken_and_no_line_ends_in_spaces(passing: Report) -> None:
    """Even at forty columns."""
    said = text(passing, width=40, verbose=True)
    for clause in clauses():
        assert any(line.split("  ")[0].endswith(f" {clause}") for line in said.splitlines())
    assert not [line for line in said.splitlines() if line != line.rstrip()]


def test_a_clause_that_holds_is_one_line_with_margin_and_examples(passing: Report) -> None:
    """Within eighty columns."""
    said = text(passing, verbose=True).splitlines()
    lines = [line for line in said if line.startswith("pass ")]
    meaning = next(line for line in said if line.startswith("Each clause: examples that met"))
    assert said.index(meaning) < said.index(lines[0])
    assert len(lines) == len(clauses())
    assert all("20/31" in line and "3.6%" in line for line in lines)
    assert max(map(len, lines)) <= 80


def test_an_area_is_one_entry_with_its_worst_margin(passing: Report) -> None:
    """How many of its laws hold, and what became of the others."""
    worst = [
        replace(r, margin=0.5) if r.clause == "dropout/unbiased" else r for r in passing.results
    ]
    said = text(replace(passing, results=worst))
    dropout = sum(r.clause.startswith("dropout/") for r in worst)
    assert f"dropout    {dropout}/{dropout}   50%" in said
    meaning = said.index("Laws that hold in each area; margin: ")
    assert meaning < said.index("dropout  ")
    missed = [replace(r, status=Status.FAIL) if r.level != "MUST" else r for r in worst]
    assert re.search(r"state +\d+/\d+ +3.6% \d+ not met", text(replace(passing, results=missed)))


def test_what_merely_may_hold_is_listed_and_not_counted(passing: Report) -> None:
    """Who does not meet it has nothing to mend; -v says that it is not met."""
    clause = "causality/nan-future-stays-out"
    missed = [replace(r, status=Status.FAIL) if r.clause == clause else r for r in passing.results]
    report = replace(passing, results=missed)
    laws = sum(r.clause.startswith("causality/") and r.level != "MAY" for r in missed)
    assert re.search(rf"causality +{laws}/{laws} +3.6%( |\n)", text(report))
    assert "not met" not in text(report)
    assert re.search(rf"not met +20/31 3.6% {clause}  MAY\n", text(report, verbose=True))


def test_a_long_report_ends_with_the_verdict(passing: Report, failing: Report) -> None:
    """A terminal stands at the end when all is printed."""
    assert "right: " in text(passing, verbose=True).splitlines()[-1]
    results = {r.clause: r for r in [*passing.results, *failing.results]}
    broken = replace(failing, results=list(results.values()))
    last = text(broken, verbose=True).splitlines()[-1]
    assert last.endswith(f"is not right: {NAME}; told above")


def test_what_could_not_be_asked_is_said_at_once(passing: Report) -> None:
    """In the second line, and the verdict is in part."""
    first, *others = passing.results
    missing = replace(first, status=Status.UNSUPPORTED, message="needs projections: there are none")
    lines = text(replace(passing, results=[missing, *others])).splitlines()
    assert "right in part" in lines[0]
    assert lines[1] == f"  not asked: {first.clause}; needs projections: there are none"


def test_a_way_out_is_printed_as_code(passing: Report) -> None:
    """Once, as it can be run, and apart from the reason."""
    first, *others = passing.results
    missing = replace(first, status=Status.UNSUPPORTED, message="needs projections: there are none")
    lacking = {
        "projections": "there are none. What to do: name an adapter:\nimport this\n\nx = 1\n"
    }
    report = replace(passing, results=[missing, *others], lacking=lacking)
    assert "\nto have the rest asked, name an adapter:\n  import this\n\n  x = 1\n\nLaws" in text(
        report
    )
    assert "lacking: projections (there are none.)" in text(report, verbose=True)
    assert "import this" not in text(replace(passing, lacking=lacking))


def test_an_argument_that_was_not_asked_is_named_first(passing: Report) -> None:
    """Every clause holds, and still something was left out: the verdict is in part."""
    kept = {"key_padding_mask": "which keys are padding: it keeps its default, None"}
    lines = text(replace(passing, unasked=kept)).splitlines()
    assert "right in part: nothing was asked of key_padding_mask; " in lines[0]
    assert lines[1].strip().startswith("not asked: key_padding_mask, which keys are padding")
    several = dict.fromkeys(
        ("a_mask", "b_mask", "c_mask", "d_mask", "e_mask"), "which keys are seen"
    )
    lines = text(replace(passing, unasked=several)).splitlines()
    assert "nothing was asked of a_mask, b_mask, c_mask and 2 more; " in lines[0]
    assert lines[1] == "  not asked: a_mask, b_mask, c_mask, d_mask, e_mask, which keys are seen"


def test_blocked_clauses_are_counted_by_area(passing: Report) -> None:
    """A cascade must not fill the screen."""
    blocked = [
        replace(r, status=Status.BLOCKED) if r.clause.startswith("heads/") else r
        for r in passing.results
    ]
    number = sum(r.status is Status.BLOCKED for r in blocked)
    said = text(replace(passing, results=blocked))
    assert f"{number} wait for them" in said.splitlines()[0]
    assert re.search(rf"heads +0/{number} +3.6% {number} wait", said)


def test_an_error_of_any_level_is_told_in_full(failing: Report) -> None:
    """A clause that took the process down is no line among others."""
    lost = Result("state/pickle", "SHOULD", Status.ERROR, message="killed the process by SIGSEGV")
    said = text(replace(failing, results=[lost], findings=[]))
    assert "no verdict: 1 error" in said
    assert "ERROR state/pickle  SHOULD" in said
    assert "but       killed the process by SIGSEGV" in said


def test_the_false_alarm_probability_is_stated_where_dropout_was_judged(failing: Report) -> None:
    """At most 1e-9 in a run; nothing where no law about chance was asked."""
    assert failing.false_alarm == 0.0
    assert "by chance" not in text(failing, verbose=True)
    judged = " ".join(text(replace(failing, false_alarm=1e-9), verbose=True).split())
    assert "by chance with probability at most 1e-9 per run" in judged


def test_a_run_that_judges_dropout_bounds_its_false_alarms() -> None:
    """The figure of `chance.py`, in the report and so in JSON."""
    only = ["dropout/survivors-are-exactly-scaled"]
    report = run(find("attention:CausalAttention")[0], profile="quick", only=only)
    assert report.false_alarm == report.to_dict()["false_alarm"] == 1e-9


def test_what_a_subject_says_cannot_move_the_cursor(failing: Report) -> None:
    """Escapes and lone surrogates become spaces; brackets are no markup."""
    said = text(
        replace(
            failing,
            subject="\x1b[2J[red]Mine",
            notes=["\x1b]0;title\x07", "\udc80"],
        )
    )
    assert "\x1b" not in said
    assert "\udc80" not in said
    assert "[2J[red]Mine" in said


@pytest.mark.parametrize(
    ("share", "said"),
    [
        (None, "-"),
        (0.0, "0%"),
        (1e-17, "<0.1%"),
        (0.0021, "0.21%"),
        (0.036, "3.6%"),
        (1.0, "100%"),
    ],
)
def test_a_margin_is_a_percentage(share: float | None, said: str) -> None:
    """Of the error budget."""
    assert margin(share) == said


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (0.0, "."),
        (-1e-17, "~0"),
        (0.25, "0.25"),
        (-9.999, "-10.0"),
        (123.4, "123"),
        (-1e30, "-1e30"),
        ("nan", "nan"),
    ],
)
def test_a_number_of_a_grid_is_short(number: float | str, said: str) -> None:
    """At most five characters for numbers of any usual size."""
    assert characters.short(number) == said


def grid(tokens: int, off: list[list[int]], shift: float = 0.5) -> dict[str, Any]:
    """The evidence of a square grid in which these cells are off."""
    expected = [
        [1.0 if row >= column else 0.0 for column in range(tokens)] for row in range(tokens)
    ]
    actual: list[list[float | str]] = [list(row) for row in expected]
    for row, column in off:
        actual[row][column] = expected[row][column] + shift
    return {
        "kind": "weights",
        "title": "Weights",
        "case": "T=5",
        "own": False,
        "rows": "query",
        "columns": "key",
        "expected": expected,
        "actual": actual,
        "off": off,
    }


@pytest.mark.parametrize(("tokens", "lines"), [(5, 7), (9, 22), (33, 34)])
def test_grids_stand_side_by_side_or_one_above_the_other_or_become_a_map(
    tokens: int, lines: int
) -> None:
    """Nothing is wider than the room there is, and what is off can be seen in each form."""
    drawn = characters.picture(grid(tokens, [[0, 1]]), 76)
    assert len(drawn) == 2 + lines
    assert max(map(len, drawn)) <= 76
    assert any("[0.50]" in line or " 0 o X ." in line for line in drawn)


def test_a_difference_that_rounding_for_the_eye_hides_is_said_in_full() -> None:
    """One part in a million."""
    drawn = characters.picture(grid(3, [[1, 0]], shift=1e-6), 76)
    assert drawn[-1] == "off by little: query 1, key 0 is 1.000001, expected 1.0"
