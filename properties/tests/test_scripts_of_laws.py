"""Every law has a script, which fails on a fault of it and passes on what is right."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import redirect_stdout
from functools import cache
from io import StringIO
from itertools import chain
from typing import Any

import pytest
import torch
from torch import Tensor

from properties.cases.strategies import pinned_cases
from properties.findings.scripts import script
from properties.findings.scripts.script import Script
from properties.recognition.targets import find
from properties.runs.drawing import draw
from properties.runs.runner import quiet_and_repeatable
from properties.runs.tally import judge
from properties.spec.clause import Level, clauses
from properties.spec.profiles import PROFILES
from properties.tests.test_call_scripts import raised
from properties.zoo.faults import Fault, faults
from properties.zoo.faults.gradient import SECOND, SecondDerivativeLacksAPart
from properties.zoo.faults.plain import PlainMultiHead
from properties.zoo.partners import partner

LARGE = "numerics/scores-of-float16-fit-once-scaled"
LOW = "gradient/low-precision-within-bound"
WITHOUT = {"projection/there-is-an-output-projection": "it asks for a layer, and calls nothing"}
"""Laws of which no script can be written, and why."""
LONG = {id for id, law in clauses().items() if law.since == "thorough"}
"""Laws that take minutes; scripts of the same kind are tried with fewer keys, or another transform."""


class ScaledFirst(PlainMultiHead):
    """Queries are divided, and scores are not."""

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        queries, keys, values = super().project(x)
        return queries / self.head_dim**0.5, keys, values

    def scale(self, scores: Tensor) -> Tensor:
        return scores


RIGHT = {LARGE: ScaledFirst}
"""What keeps a law that the module which a fault changes need not keep."""


@cache
def breaking() -> dict[str, Fault]:
    """For each law a fault that breaks it."""
    return {id: fault for fault in reversed(faults().values()) for id in fault.breaks}


def written(fault: Fault, law: str) -> Script | None:
    """The script of the first example on which a fault breaks a law."""
    subject = find(fault.module, fault.family)[0]
    with quiet_and_repeatable(), redirect_stdout(StringIO()):
        cases = chain(pinned_cases(subject), draw(subject, PROFILES["quick"], 0))
        case = next(c for c in cases if judge(clauses()[law], c).status == "fail")
        return script(clauses()[law], case)


def right_one(fault: Fault, law: str, told: Script) -> Callable[..., Any] | None:
    """What the script has to pass on; None where what is right otherwise may break the law."""
    if law in RIGHT:
        return RIGHT[law]
    may = clauses()[law].level == Level.MAY
    return None if may else partner(fault.module, told.subject.conventions)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("law", [id for id in clauses() if id not in LONG | set(WITHOUT)])
def test_every_law_has_a_script_that_fails_on_a_fault_and_passes_on_what_is_right(law: str) -> None:
    """Of the first fault that breaks it, on the first example that shows it."""
    fault = breaking()[law]
    told = written(fault, law)
    assert told is not None
    assert raised(told, fault.module)
    right = right_one(fault, law, told)
    assert right is None or not raised(told, right)


def test_laws_without_a_script_are_known() -> None:
    """One that gets a script is to be taken off the list."""
    assert {law: written(breaking()[law], law) for law in WITHOUT} == dict.fromkeys(WITHOUT)


def test_gradients_of_each_short_format_have_a_script() -> None:
    """Of queries and keys, in bfloat16 alone."""
    fault = faults()["scores-detached-in-bfloat16"]
    told = written(fault, LOW)
    assert told is not None
    assert "torch.bfloat16" in told.body
    assert raised(told, fault.module)
    assert not raised(told, PlainMultiHead)


class Refused(torch.autograd.Function):
    """A softmax whose gradient may be taken once."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor) -> Tensor:
        weights = torch.softmax(scores, dim=-1)
        ctx.save_for_backward(weights)
        return weights

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (weights,) = ctx.saved_tensors
        along = (weights * gradients[0]).sum(dim=-1, keepdim=True)
        result: Tensor = weights * (gradients[0] - along)
        return result


class Silent(Refused):
    """The same, and what it gives is a constant."""

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (weights,) = ctx.saved_tensors
        along = (weights * gradients[0]).sum(dim=-1, keepdim=True)
        result: Tensor = (weights * (gradients[0] - along)).detach()
        return result


@pytest.mark.parametrize(("way", "wrong"), [(Refused, False), (Silent, True)])
def test_a_second_derivative_that_is_refused_is_right(way: Any, wrong: bool) -> None:
    """And one that lacks a part is not."""

    class Module(PlainMultiHead):
        def normalise(self, scores: Tensor) -> Tensor:
            weights: Tensor = way.apply(scores)
            return weights

    fault = next(f for f in faults().values() if f.module is SecondDerivativeLacksAPart)
    told = written(fault, SECOND)
    assert told is not None
    assert raised(told, Module) is wrong


def test_a_script_says_what_is_expected_of_a_future_that_is_nan() -> None:
    """The number, and not the NaN that came of it."""
    law = "causality/nan-future-stays-out"
    told = written(breaking()[law], law)
    assert told is not None
    with pytest.raises(AssertionError, match=r"expected .*[0-9], got nan"):
        told.run()
