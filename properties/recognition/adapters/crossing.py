"""What is different about a subject that takes another library's arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from properties.recognition.adapters import trials
from properties.recognition.foreign.arrays import Arrays
from properties.recognition.foreign.bridge import Bridge
from properties.subjects.subject import Subject


def cross(
    subject: Subject, function: Any, call: Callable[..., Any], inputs: Sequence[Tensor]
) -> None:
    """Say of a subject what follows where its function is a `Bridge`, and nothing else.

    call: what it computes from such inputs.
    """
    if isinstance(function, Bridge):
        in_arrays(subject, function.arrays, call, inputs)


def in_arrays(
    subject: Subject, arrays: Arrays, call: Callable[..., Any], inputs: Sequence[Tensor]
) -> None:
    """Say what follows where these arrays are what it takes."""
    subject.compiled = arrays.compiled
    subject.capabilities |= {"other arrays"}
    subject.notes = (*subject.notes, f"it is asked in arrays of {arrays.name}")
    lost = arrays.inexact() if len(subject.dtypes) > 1 else {}
    subject.dtypes = tuple(name for name in subject.dtypes if name not in lost)
    subject.notes += tuple(f"not asked in {name}: {reason}" for name, reason in lost.items())
    if not arrays.derives:
        subject.differentiable = False
        subject.lacking = {**subject.lacking, "gradients": f"{arrays.name} has none"}
    if arrays.widens:
        subject.capabilities |= {"widens"}
        leave_out_widened(subject, call, inputs)


def leave_out_widened(subject: Subject, call: Callable[..., Any], inputs: Sequence[Tensor]) -> None:
    """Ask in no format in which the output comes in another one: it is rounded elsewhere, then."""
    kept, remarks = [], []
    for dtype in subject.dtypes:
        given = [part.to(getattr(torch, dtype)) for part in inputs]
        output = trials.call(call, *given).output
        if output is None or output.dtype == given[0].dtype:
            kept.append(dtype)
        else:
            came = str(output.dtype).removeprefix("torch.")
            remarks.append(f"not asked in {dtype}: the output is in {came} there")
    if kept:  # else the laws tell what comes
        subject.dtypes, subject.notes = tuple(kept), (*subject.notes, *remarks)
