"""Keys that a function hides too late, or by next to nothing, are told by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from properties.recognition.targets import find_one
from properties.runs.runner import run
from properties.tests.data import hidden_keys as made
from properties.tests.test_call_scripts import raised
from properties.tests.test_further_scripts import found

SHOWN = "mask/shows-what-it-shows"


@pytest.mark.parametrize(
    ("target", "name"),
    [
        (made.of_one_head_with_a_small_fill, "a hidden score is zero"),
        (made.in_numpy_after_the_softmax, "mask after the softmax"),
    ],
)
def test_keys_that_are_not_hidden_in_time_are_named(target: Callable[..., Any], name: str) -> None:
    report = run(find_one(target), profile="quick", only=[SHOWN])
    assert report.failed == [SHOWN]
    assert any(one.name.startswith(name) for one in report.findings)


def test_a_right_function_of_one_head_holds_every_law_of_masks() -> None:
    """An empty batch is none of its calls, and no error."""
    asked = find_one(made.of_one_head)
    assert set(asked.takes) >= {"mask", "weights", "lengths"}
    report = run(asked, profile="quick", only=["mask", "result", "shape"])
    assert [(r.clause, r.message) for r in report.results if r.status != "pass"] == []


def test_the_script_of_a_function_of_one_head_runs() -> None:
    """It fails on the wrong one alone."""
    told = found(made.of_one_head_with_a_small_fill, SHOWN)
    assert raised(told, made.of_one_head_with_a_small_fill)
    assert not raised(told, made.of_one_head)
