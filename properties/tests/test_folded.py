"""Functions of fewer than four axes are told what functions of four are told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from properties.recognition.asking.folded import Folded
from properties.recognition.targets import find_one
from properties.runs.runner import run
from properties.tests.data import folded as made
from properties.tests.test_call_scripts import raised
from properties.tests.test_further_scripts import found

LAWS = ["mask", "cross", "paths", "memory", "result", "oracle"]
SHOWN = "mask/shows-what-it-shows"
BIAS = "mask/bias-is-added-to-the-scores"
RIGHT = {
    made.masked_attention: ("B*H T D", {"mask", "lengths"}),
    made.of_one_head: ("T D", {"mask", "lengths", "weights"}),
    made.of_one_item: ("T H D", {"bias", "causal", "lengths"}),
    made.in_numpy: ("B*H T D", {"mask", "lengths", "weights"}),
}


@pytest.mark.parametrize("target", RIGHT, ids=lambda target: target.__name__)
def test_a_right_function_of_fewer_axes_is_told_its_masks(target: Callable[..., Any]) -> None:
    layout, roles = RIGHT[target]
    asked = find_one(target)
    assert asked.layout == layout
    assert set(asked.takes) >= roles
    assert asked.unasked == {}
    report = run(asked, profile="quick", only=LAWS)
    assert [(r.clause, r.message) for r in report.results if r.status == "fail"] == []


@pytest.mark.parametrize(
    ("target", "law", "name"),
    [
        (made.attention_without_its_mask, SHOWN, "mask ignored"),
        (made.of_one_head_with_a_small_fill, SHOWN, "a hidden score is zero"),
        (made.of_one_item_with_half_its_bias, BIAS, ""),
        (made.in_numpy_after_the_softmax, SHOWN, "mask after the softmax"),
    ],
)
def test_a_wrong_mask_of_fewer_axes_is_told(
    target: Callable[..., Any], law: str, name: str
) -> None:
    report = run(find_one(target), profile="quick", only=[law])
    assert report.failed == [law]
    assert any(one.name.startswith(name) for one in report.findings)


def test_the_script_of_a_function_of_fewer_axes_runs() -> None:
    """It fails on the wrong one alone."""
    told = found(made.of_one_head_with_a_small_fill, SHOWN)
    assert raised(told, made.of_one_head_with_a_small_fill)
    assert not raised(told, made.of_one_head)


@pytest.mark.parametrize("layout", ["B*H T D", "T H D", "T D"])
def test_what_stands_around_cuts_and_puts_together(layout: str) -> None:
    """Masks, numbers of heads and what is of items come to the right place; so does what is returned."""
    query, mask = torch.randn(2, 3, 5, 4), torch.rand(2, 3, 5, 5)
    slopes, lengths = torch.arange(3.0), torch.tensor([7, 8])
    given = {}

    def function(q: Any, k: Any, v: Any, **options: Any) -> Any:
        given.setdefault("first", {"q": q, **options})
        return q, options["mask"]

    around = Folded(function, layout, ("mask",))
    output, weights = around(query, query, query, mask=mask, slopes=slopes, lengths=lengths)
    assert torch.equal(output, query)
    assert torch.equal(weights, mask)
    first = given["first"]
    shapes = {
        "B*H T D": [(6, 5, 4), (6, 5, 5), (6,), (6,)],
        "T H D": [(5, 3, 4), (3, 5, 5), (3,), ()],
        "T D": [(5, 4), (5, 5), (), ()],
    }
    names = ("q", "mask", "slopes", "lengths")
    assert [tuple(first[name].shape) for name in names] == shapes[layout]


def test_a_mask_of_fewer_axes_is_refused() -> None:
    """Whose axes it has nobody can tell."""
    around = Folded(made.of_one_head, "T D", ("mask",))
    part = torch.zeros(2, 1, 2, 1)
    with pytest.raises(ValueError, match="mask has 2 axes"):
        around(part, part, part, mask=torch.ones(2, 2))
