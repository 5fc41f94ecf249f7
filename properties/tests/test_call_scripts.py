"""A failure of a call becomes a script that fails on what is wrong and passes on what is right."""

from __future__ import annotations

import ast
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import replace
from functools import cache
from io import StringIO
from typing import Any

import numpy as np
import pytest
import torch

from properties.cases.call_gradients import upstream
from properties.cases.case import Case
from properties.cases.question import Question
from properties.findings.call_tape import Asked, Building, CallTape
from properties.findings.names.calls.battery import questions
from properties.findings.scripts import script
from properties.findings.scripts.call_findings import numbers, wrong_parts
from properties.findings.scripts.call_scripts import replayed
from properties.findings.scripts.call_source import CallScript
from properties.findings.scripts.script import Script
from properties.recognition.targets import find
from properties.runs.runner import Run, quiet_and_repeatable
from properties.spec.clause import clauses
from properties.spec.profiles import PROFILES
from properties.zoo.faults import faults
from properties.zoo.partners import partner
from properties.zoo.wide import sound_ones

UNREDUCED = replace(PROFILES["quick"], reduction=0)
SAMPLE = {
    "sdpa-mask-of-the-first-item": "mask/shows-what-it-shows",
    "sdpa-mask-of-items-falls-on-heads": "memory/arguments-are-not-written-to",
    "sdpa-mask-ignored": "mask/hidden-key-does-not-matter",
    "sdpa-mask-added-as-a-number": "mask/hidden-equals-removed",
    "sdpa-bias-read-as-boolean": "mask/boolean-equals-bias",
    "sdpa-scale-multiplies-the-mask": "score/scale-leaves-the-bias",
    "sdpa-groups-tiled": "groups/equal-repeated-heads",
    "sdpa-as-many-keys-as-queries": "cross/each-query-alone",
    "sdpa-mask-written-to": "memory/arguments-are-not-written-to",
    "flash-slope-of-the-first-head": "score/slopes-grow-with-distance",
    "flash-cap-after-the-mask": "score/cap-comes-before-hiding",
    "flash-window-with-its-sides-exchanged": "window/both-sides",
    "flash-lse-before-the-mask": "result/lse-is-the-logarithm-of-the-denominator",
    "weights-of-what-is-not-hidden": "result/returned-weights-are-those-used",
    "one-key-is-its-value": "memory/output-is-no-view-of-an-input",
    "mask-is-lost-in-training": "paths/with-and-without-gradients",
    "mask-read-as-if-in-one-piece": "paths/order-in-memory",
    "keys-are-kept-with-their-tensor": "memory/same-storage-new-numbers",
    "mask-is-lost-under-dropout": "paths/hides-under-dropout",
    "cap-without-its-derivative": "score/gradient-goes-through-the-cap",
    "gradient-of-the-bias-is-scaled": "mask/gradient-of-a-bias",
    "gradient-of-the-last-head-of-a-group": "groups/gradient-is-summed-over-the-group",
    "mask-cut-to-the-scores": "error/mask-of-another-size",
    "encoder-padding-acts-on-queries": "mask/padding-shows-what-is-real",
    "masked-mask-replaces-causal": "mask/all-shown-is-no-mask",
    "masked-buffer-written-to": "memory/earlier-call-is-forgotten",
    "multihead-bias-read-as-boolean-in-eval": "paths/modes-of-a-module",
    "multihead-float-padding-ignored": "mask/padding-as-numbers",
    "multihead-any-padding-number-hides": "mask/padding-numbers-are-added",
    "multihead-gradient-of-an-empty-row": "mask/gradient-of-a-module-follows-its-masks",
    "multihead-weights-averaged-unasked": "result/returned-weights-are-those-used",
    "integers-inverted-bit-by-bit": "error/mask-of-integers",
    "query-passed-on-without-keys": "error/no-keys",
    "minus-two-is-a-width": "error/window-below-minus-one",
    "least-cap": "error/cap-not-above-zero",
    "scale-of-nan-is-the-default": "error/scale-of-nan",
    "packed-mean-of-all-without-keys": "error/document-without-keys",
    "packed-starts-are-sorted": "error/starts-that-fall",
}
"""A fault of every area of calls, and a clause that it breaks."""


@cache
def failing(name: str, clause: str) -> Script | None:
    """The script for a fault's failure of a clause."""
    fault = faults()[name]
    run = Run(find(fault.module, fault.family)[0], [clauses()[clause]], UNREDUCED, 0)
    tallies = run.tallies()
    with quiet_and_repeatable(), redirect_stdout(StringIO()):
        run.go(tallies)
        case = tallies[clause].case
        assert case is not None
        return script(clauses()[clause], case)


def raised(found: Script, target: Callable[..., Any]) -> bool:
    """Whether the script's assertion is broken by a target."""
    with torch.random.fork_rng(devices=[]), redirect_stdout(StringIO()):
        try:
            found.run(target)
        except AssertionError:
            return True
    return False


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "clause"), SAMPLE.items())
def test_a_script_of_calls_fails_on_the_fault_and_passes_on_its_partner(
    name: str, clause: str
) -> None:
    """The same text, with another function or class behind its one name for it."""
    found = failing(name, clause)
    assert isinstance(found, CallScript)
    assert raised(found, faults()[name].module)
    right = partner(faults()[name].module, found.subject.conventions)
    assert right is not None
    assert not raised(found, right)


@pytest.mark.parametrize(
    ("name", "calls"), [("sdpa-mask-ignored", 2), ("sdpa-mask-of-the-first-item", 1)]
)
def test_a_law_of_two_calls_shows_both_and_one_of_a_formula_shows_one(
    name: str, calls: int
) -> None:
    """A hidden key exchanged is seen by what both calls give."""
    found = failing(name, SAMPLE[name])
    assert found is not None
    assert found.body.count("Attention(") == calls


def test_a_script_of_calls_stands_alone() -> None:
    """It imports torch, NumPy and the function; of this suite nothing but what is wrong on purpose."""
    found = failing("flash-cap-after-the-mask", SAMPLE["flash-cap-after-the-mask"])
    assert found is not None
    tree = ast.parse(found.written('"""A head."""'))
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    assert imported <= {"__future__", "sys", "torch", "numpy", "properties.zoo.wide.flash_faults"}


RIGHT = ("sdpa-true-hides-by-exponentials", "sdpa-over-the-kernel", "flash-block-by-block")


def claimed(asked: Question) -> CallScript:
    """A script that claims of a call what would be claimed of a wrong one."""
    call = Asked(asked)
    call.answer = asked.answer()
    wrong = replace(call.answer, output=call.answer.output + 1e3)
    told = Asked(asked, answer=wrong)
    finding = next(wrong_parts(told))
    return said(asked.case, call, replace(finding, calls=[call]))


def said(case: Case, call: Asked, finding: Any) -> CallScript:
    """The script of one call."""
    written = CallScript(case.subject, tape=CallTape(Building(case), None))
    replayed(written, [call], finding)
    return written


@pytest.mark.parametrize("name", RIGHT)
def test_what_a_script_claims_is_true_of_right_functions(name: str) -> None:
    """Every role by itself and crossed, in the subject's own polarity and layout: the definition of a
    script says what the oracle says.
    """
    target = sound_ones()[name].target
    asked = list(questions(find(target)[0]))[:: 3 if name.startswith("sdpa") else 5]
    assert len({tuple(one.arguments.given()) for one in asked}) > 5
    for one in asked:
        claimed(one).run(target)


@pytest.mark.parametrize("name", ["sdpa-as-documented", "flash-in-one-matrix"])
def test_the_gradients_that_a_script_claims_are_true_of_right_functions(name: str) -> None:
    """By the chain rule, for groups, windows, caps and biases as well."""
    target = sound_ones()[name].target
    subject = find(target)[0]
    for one in list(questions(subject))[::9]:
        call = Asked(one, upstream=upstream(one))
        call.gradients = {n: np.inf + part for n, part in one.gradients(upstream(one)).items()}
        for finding in numbers([call]):
            said(one.case, call, finding).run(target)


def test_a_function_that_is_wrong_gets_a_script_that_fails_in_a_process_of_its_own() -> None:
    """There is a text only if it has failed there; it says what it needs."""
    fault = faults()["sdpa-scale-ignored"]
    clause = clauses()["score/given-scale-is-used-once"]
    run = Run(find(fault.module, fault.family)[0], [clause], UNREDUCED, 0, scripts=True)
    (text,) = (result.script for result in run.report().results)
    assert "scale=" in text
    assert "torch, NumPy and the function alone" in text
