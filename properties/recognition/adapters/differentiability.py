"""Whether an output has a gradient: another library's arrays, or a graph cut on purpose, have none.

What is trained must have one. So a module with parameters that require a gradient is never excused:
where its graph is cut, it is accused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from properties.basics.errors import SubjectError
from properties.cases.strategies import make_case, pinned_sizes
from properties.recognition.adapters import trials
from properties.subjects.subject import Subject


def settle(subject: Subject) -> None:
    """Take the gradients from what a subject offers, with the reason, where there are none."""
    if subject.differentiable and (reason := without_gradient(subject)):
        subject.differentiable = False
        subject.lacking = {**subject.lacking, "gradients": reason}


def without_gradient(subject: Subject) -> str:
    """Why there is no gradient and none is promised; "" where there is one, or should be."""
    sizes, dtype = pinned_sizes(subject)[0], subject.dtypes[0]
    case = make_case(subject, sizes, dtype, "ordinary", False, 0.0, 1, 0)
    try:
        instance = case.build()
    except SubjectError:
        return ""
    if any(parameter.requires_grad for parameter in instance.module.parameters()):
        return ""
    instance.module.eval()
    x = instance.tensor(case.x if instance.batched else case.x[0])
    return reason(instance.module, x)


def reason(function: Callable[..., Any], *inputs: torch.Tensor) -> str:
    """Why the output of a call on these inputs has no gradient; "" where it has one or raises."""
    trial = trials.call(function, *(x.clone().requires_grad_() for x in inputs), gradients=True)
    if trial.output is not None:
        return (
            "" if trial.output.requires_grad else "no gradient leads from the output to the input"
        )
    if trials.call(function, *inputs).output is None:
        return ""
    return f"on an input that requires a gradient it {trial.failure}"
