"""A wrong call gets the name of what is wrong with it, and names are true."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from properties import check
from properties.cases.case import Case
from properties.cases.strategies import pinned_cases
from properties.findings.evidence import evidence
from properties.findings.names import behaves_like
from properties.findings.names.calls.battery import battery, sized
from properties.findings.names.calls.catalogue import catalogue
from properties.findings.names.calls.form import Supposed
from properties.findings.names.calls.match import AREAS, explains, fitting
from properties.findings.names.calls.standin import Supposing, breaks
from properties.recognition.targets import find
from properties.reports.lines import case_lines
from properties.runs.drawing import draw
from properties.runs.result import describe_case
from properties.runs.runner import quiet_and_repeatable
from properties.runs.tally import judge
from properties.spec.clause import clauses
from properties.spec.profiles import profile_named
from properties.subjects.subject import Subject
from properties.zoo.faults.calls import BREAKS
from properties.zoo.wide import held_ones, sound_ones

KINDS = ("sdpa-like", "flash-like")
MORE_EXACT = {
    "sdpa-least-number-added-twice": "",  # NaN in float16 alone, which is an edge
    "flash-window-counts-oneself-where-causal": "window keeps one more without the causal flag",
    "flash-window-ignored-without-causal": "window ignored without the causal flag",
    "flash-window-lost-when-asked-for-the-lse": "window ignored when the LSE is asked for",
    "flash-window-with-its-sides-exchanged": "sides of the window exchanged without the causal flag",
    "sdpa-causal-corner-by-size": "causal ignored with one query or "
    "causal corner changes with one query",
}
"""Wrong functions whose names say when the form holds, or by which convention it is wrong."""


@cache
def subject(name: str) -> Subject:
    """A function of the wide zoo as it is recognised."""
    return find((held_ones() | sound_ones())[name].target)[0]


def failing(asked: Subject, clause: str) -> Case:
    """A pinned or drawn case on which a subject fails a clause."""
    for cases in (pinned_cases(asked), draw(asked, profile_named("quick"), 0)):
        for case in cases:
            if judge(clauses()[clause], case).status == "fail":
                return case
    raise AssertionError(f"{asked.name} passes {clause}")


@pytest.mark.parametrize("name", BREAKS)
def test_a_wrong_function_gets_its_name_and_no_other(name: str) -> None:
    with quiet_and_repeatable():
        names = behaves_like(BREAKS[name][0], failing(subject(name), BREAKS[name][0]))
    told = " or ".join(each.partition("; look for ")[0] for each in names)
    assert told == MORE_EXACT.get(name, held_ones()[name].named)


def test_tiles_that_are_not_rescaled_have_their_name() -> None:
    """They are right up to sixteen keys: a question of the battery has more."""
    with quiet_and_repeatable():
        case = failing(subject("flash-tiles-not-rescaled"), "groups/rows-of-257-keys")
        names = behaves_like("groups/rows-of-257-keys", case)
    assert [each.partition("; look for ")[0] for each in names] == ["tiles not rescaled"]


@pytest.mark.parametrize("name", [n for n, s in sound_ones().items() if s.kind in KINDS])
def test_no_wrong_form_agrees_with_a_right_function(name: str) -> None:
    """Every answer to the battery is right, by the conventions that were found."""
    asked = subject(name)
    assert all(item.right for item in battery(asked))
    assert fitting(asked) == ()


@pytest.mark.parametrize(
    "called",
    ["mask replaces the window", "bias added twice", "scale divides", "window replaces the mask"],
)
def test_a_form_run_as_a_subject_agrees_with_itself(called: str) -> None:
    """Also those that no function of the zoo has."""
    original = find(of_everything)[0]
    form = next(form for form in catalogue() if form.called == called)
    wrong = Supposing(sized(original, 4, 2, 1), Supposed(form))
    assert called in {supposed.form.called for supposed in fitting(wrong)}


def of_everything(
    query: Any,
    key: Any,
    value: Any,
    mask: Any = None,
    bias: Any = None,
    causal: bool = False,
    window: tuple[int, int] = (-1, -1),
    scale: float | None = None,
) -> Any:
    """True attends; a right function with arguments of its own for masks and biases."""
    z = query @ key.mT * (query.shape[-1] ** -0.5 if scale is None else scale)
    z = z if bias is None else z + bias
    ahead = np.arange(key.shape[-2]) - np.arange(query.shape[-2])[:, None]
    seen = ahead <= (0 if causal else key.shape[-2])
    seen &= (ahead >= -window[0]) | (window[0] < 0)
    seen &= (ahead <= window[1]) | (window[1] < 0)
    hidden = z.new_tensor(~seen).bool()
    hidden = hidden if mask is None else hidden | ~mask
    return z.masked_fill(hidden, -float("inf")).softmax(-1) @ value


def test_a_name_does_not_explain_a_law_that_its_form_keeps() -> None:
    """A scale that is ignored leaves the order of keys alone."""
    asked = subject("sdpa-scale-ignored")
    case = failing(asked, "score/given-scale-is-used-once")
    (name,) = behaves_like("score/given-scale-is-used-once", case)
    assert explains(name, "score/given-scale-is-used-once", case) is True
    assert explains(name, "cross/order-of-keys-does-not-matter", case) is False


def test_a_right_stand_in_breaks_no_law_about_calls() -> None:
    """So what a stand-in breaks is due to its form."""
    asked = subject("flash-in-one-matrix")
    same = Supposed(next(form for form in catalogue() if form.called == "padding ignored"))
    laws = [law for law in clauses().values() if law.area in AREAS and law.concerns(asked)]
    for case in pinned_cases(asked)[:3]:
        assert {law.id for law in laws if breaks(same, law.id, case)} == set()


def test_one_wrong_call_is_one_finding_with_its_name() -> None:
    """It breaks laws about modules as well."""
    wrong = held_ones()["flash-padding-keys-take-part"]
    only = ["cross", "groups", "window", "score", "result", "weights", "causality"]
    report = check(wrong.target, profile="quick", only=only)
    assert {"weights/rows-sum-to-one", "causality/prefix-gives-prefix"} <= set(report.failed)
    assert [finding.name for finding in report.findings] == [wrong.named]


def test_the_smallest_case_of_a_call_is_told_as_the_call_saw_it() -> None:
    """Queries, keys, values and the arguments that the law is about, a mask as zeros and ones."""
    asked, law = subject("sdpa-mask-ignored"), "mask/shows-what-it-shows"
    case = describe_case(failing(asked, law))
    lines = case_lines(case, law, whole=True)
    shape = np.shape(case["call"]["arrays"]["keys"])
    assert f"S={shape[2]}" in lines[0]
    assert f"G={shape[1]}" in lines[0]
    assert [line.partition(" = ")[0] for line in lines[2:]] == ["queries", "keys", "values", "mask"]
    assert set(lines[-1].partition(" = ")[2]) <= set("[]01, ")
    assert "scale = " in case_lines(case, "score/given-scale-is-used-once")[0]
    assert case_lines(case, "oracle/output-within-bound")[2].startswith("x = ")


def test_a_wrong_mask_is_drawn_as_the_weights_that_it_lets_through() -> None:
    """The cells that are off are those of keys that are hidden, among others."""
    asked, law = subject("sdpa-mask-ignored"), "mask/shows-what-it-shows"
    case = failing(asked, law)
    drawn = evidence(law, case)
    assert drawn is not None
    assert drawn["kind"] == "weights"
    assert drawn["title"].startswith("Weights of a call with mask, batch item")
    assert np.shape(drawn["expected"]) == (case.sizes.tokens, case.call.keys if case.call else 0)
    hidden = np.argwhere(np.asarray(drawn["expected"], float) == 0.0).tolist()
    assert hidden
    assert all(cell in drawn["off"] for cell in hidden)
