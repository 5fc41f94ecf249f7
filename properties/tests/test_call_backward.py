"""Gradients of calls, and calls under dropout, are explained by a wrong form that gives them."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from properties.basics.errors import OutsideError
from properties.cases.call_gradients import upstream
from properties.cases.case import Case
from properties.cases.question import Question
from properties.cases.strategies import pinned_cases
from properties.findings.names.calls.backward import gradients_of
from properties.findings.names.calls.battery import battery, questions
from properties.findings.names.calls.catalogue import catalogue
from properties.findings.names.calls.form import Form, RefusedError
from properties.findings.names.calls.match import explains, named
from properties.recognition.targets import find
from properties.runs.drawing import draw
from properties.runs.runner import quiet_and_repeatable
from properties.runs.tally import judge
from properties.spec.clause import clauses
from properties.spec.profiles import profile_named
from properties.subjects.subject import Subject
from properties.truth.oracle import split
from properties.zoo.wide import held_ones, sound_ones
from properties.zoo.wide.dot_product_masks import true_hides_beside_the_causal_flag as wrong

FOLLOW = "mask/gradients-follow-the-mask"
NAME = "True hides beside the causal flag; look for "


class Halved(torch.autograd.Function):
    """The same, with half of the gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> Tensor:
        return 0.5 * upstream[0]


def backward_is_wrong_as_well(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """The keys get half of their gradient."""
    halved: Tensor = Halved.apply(key)
    return wrong(query, halved, value, attn_mask, dropout_p, is_causal, scale, enable_gqa)


@cache
def failing(target: Any, clause: str) -> Case:
    """A case on which a function fails a clause."""
    subject = find(target)[0]
    for cases in (pinned_cases(subject), draw(subject, profile_named("quick"), 0)):
        for case in cases:
            if judge(clauses()[clause], case).status == "fail":
                return case
    raise AssertionError(f"{subject.name} passes {clause}")


@pytest.mark.parametrize(
    ("target", "explained"), [(wrong, True), (backward_is_wrong_as_well, False)]
)
def test_a_name_explains_wrong_gradients_if_they_are_those_of_the_form(
    target: Any, explained: bool
) -> None:
    """And it does not, where the answers alone are the form's."""
    case = failing(target, FOLLOW)
    with quiet_and_repeatable():
        names = named("mask/joins-the-causal-flag", failing(target, "mask/joins-the-causal-flag"))
        assert [name[: len(NAME)] for name in names] == [NAME]
        assert (explains(names[0], FOLLOW, case) is True) is explained


def test_a_name_explains_what_is_seen_under_dropout() -> None:
    """The weights that are not dropped are the form's."""
    target, clause = held_ones()["sdpa-groups-tiled"].target, "paths/hides-under-dropout"
    case = failing(target, clause)
    with quiet_and_repeatable():
        names = named(clause, case)
        assert [name.partition(";")[0] for name in names] == ["groups tiled"]
        assert explains(names[0], clause, case) is True


def keys_get_half(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None = None,
    scale: float | None = None,
) -> Tensor:
    """Half of the gradient of the keys, whatever is told."""
    halved: Tensor = Halved.apply(key)
    z = query @ halved.mT * (query.shape[-1] ** -0.5 if scale is None else scale)
    least = torch.finfo(z.dtype).min
    return (z if mask is None else z.masked_fill(~mask, least)).softmax(-1) @ value


@pytest.mark.parametrize("clause", [FOLLOW, "score/gradient-with-a-given-scale"])
def test_gradients_that_are_wrong_otherwise_have_none(clause: str) -> None:
    """They are those of no form."""
    with quiet_and_repeatable():
        assert named(clause, failing(keys_get_half, clause)) == []


@cache
def right() -> Subject:
    """A function that is told whatever forms are about."""
    return find(sound_ones()["sdpa-over-the-kernel"].target)[0]


def weighed(form: Form, asked: Question, factors: np.ndarray) -> float:
    """The number that is differentiated."""
    output = form.asks(asked).truth.output
    return float((split(output, asked.shape[1]) * factors).sum())


@pytest.mark.parametrize("role", ["mask", "bias", "scale", "causal", ""])
def test_the_gradients_of_a_form_are_its_differences(role: str) -> None:
    """Of every form in the catalogue whose gradients are those of its answers, as far as they are claimed:
    along one direction of all inputs the derivative is the quotient of differences, to the half of the
    digits that such a quotient has.
    """
    found = [one for one in questions(right()) if set(one.arguments.given()) == {role} - {""}]
    asked, claimed = found[0], 0
    factors = upstream(asked)
    rng = np.random.default_rng(1)
    step = {name: rng.standard_normal(array.shape) for name, array in asked.inputs.items()}
    of_answers = [form for form in catalogue() if form.slopes is None]
    for form in filter(lambda form: form.concerns(asked), of_answers):
        try:
            truth = gradients_of(form, asked, factors)
        except (OutsideError, RefusedError):
            continue
        if form.asks(asked).truth.empty.any():  # of which no form says what comes
            continue
        claimed += 1
        along = sum(float((truth.right[name] * step[name]).sum()) for name in step)
        ahead, behind = (
            weighed(
                form,
                asked.with_inputs({n: a + h * step[n] for n, a in asked.inputs.items()}),
                factors,
            )
            for h in (1e-5, -1e-5)
        )
        np.testing.assert_allclose(along, (ahead - behind) / 2e-5, rtol=1e-6, atol=1e-6)
    assert claimed > 10


def test_no_gradient_of_a_right_function_is_held_against_it() -> None:
    """The definition itself is a form that answers what was asked."""
    asked = battery(right())[0].asked
    assert named("cross/gradients-of-other-lengths", asked.case) == []
