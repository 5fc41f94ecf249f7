"""The gradients of a wrong form of a call, and answers under dropout, held against a subject's.

A form answers another question. Where the inputs of that one are inputs of the first, each at another
place or at several, its gradients go back to where they came from.

Legend: B batch, H query heads, T queries, E columns of a value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from properties.basics.dtypes import Array
from properties.basics.errors import OutsideError
from properties.cases.call_gradients import Slopes, slopes
from properties.cases.question import Question
from properties.findings.call_tape import Asked
from properties.findings.names.calls.form import Form, RefusedError, nothing_else, within
from properties.findings.names.calls.items import Item
from properties.subjects.call import Inputs
from properties.truth.bounds import survivors


class Backward(Item):
    """A question, what was differentiated, and the subject's gradients (None where it raised)."""

    def __init__(self, call: Asked) -> None:
        super().__init__(call.question, None, replace(call.handing, gradients=True))
        self.upstream, self.gradients = call.upstream, call.gradients

    def judged(self, form: Form) -> bool:
        """Whether the gradients are those of the form."""
        if self.gradients is None or self.upstream is None:
            return False
        try:
            truth = gradients_of(form, self.asked, self.upstream)
        except (OutsideError, RefusedError):
            return False
        return all(
            within(found, truth.right[name], truth.allowed[name])
            for name, found in self.gradients.items()
            if name in truth.right
        )


class Dropped(Item):
    """A question whose values are zeros and ones, and an answer under dropout: the weights themselves."""

    def judged(self, form: Form) -> bool:
        """Whether each weight is the form's, scaled, or dropped."""
        try:
            truth = form.truth(self.asked)
        except RefusedError:
            return self.answer is None
        if self.answer is None or self.answer.output.shape != truth.output.shape:
            return False
        found, dtype, dropout = self.answer.output, self.asked.case.dtype, self.handing.dropout
        kept = np.where(found == 0.0, 0.0, truth.output / (1.0 - dropout))
        allowed = survivors(truth.output, truth.allowed, dropout, dtype)
        hidden = (truth.output == 0.0) & np.isfinite(allowed)
        return within(found, kept, np.where(hidden, 0.0, allowed))


def item(call: Asked) -> Item:
    """What a clause has asked and was given."""
    if call.upstream is not None:
        return Backward(call)
    kind = Dropped if call.handing.dropout else Item
    return kind(call.question, call.answer, call.handing)


def gradients_of(form: Form, asked: Question, upstream: Array) -> Slopes:
    """Of sum(upstream * output) of a form, by the inputs of the question that was asked.

    OutsideError where they do not follow from those of the question that the form answers.
    """
    other = form.asks(asked)
    if form.gives is not nothing_else or other.shape[:3] != asked.shape[:3]:
        raise OutsideError(f"the gradients of {form.called}")
    truth = slopes(other, upstream)
    came = origins(form, asked, other)
    right, allowed = (back(part, came, asked.inputs) for part in (truth.right, truth.allowed))
    bias = other.arguments.bias
    if asked.function and asked.arguments.bias is not None:
        if bias is None:
            right["bias"] = allowed["bias"] = np.zeros(asked.shape)
        elif bias is asked.arguments.bias:
            right["bias"], allowed["bias"] = truth.right["bias"], truth.allowed["bias"]
        else:
            raise OutsideError(f"the gradient of the bias of {form.called}")
    found = Slopes(right, allowed)
    return form.slopes(asked, upstream, found) if form.slopes else found


@dataclass(frozen=True, eq=False)
class Origin:
    """Where the numbers of an input of the other question come from: places among all of those of the
    first, counted from one, or zero.
    """

    name: str
    places: Array


def origins(form: Form, asked: Question, other: Question) -> list[Origin]:
    """Of each input; OutsideError where a number is none of the first question's."""
    counted, start = {}, 1
    for name, array in asked.inputs.items():
        counted[name] = np.arange(start, start + array.size, dtype=np.float64).reshape(array.shape)
        start += array.size
    numbers = np.concatenate([[0.0], *(array.ravel() for array in asked.inputs.values())])
    found = []
    for name, places in form.asks(asked.with_inputs(counted)).inputs.items():
        inside = (places >= 0.0) & (places < start) & (places == np.round(places))
        if not inside.all() or not np.array_equal(numbers[places.astype(int)], other.inputs[name]):
            raise OutsideError(f"the gradients of {form.called}")
        found.append(Origin(name, places))
    return found


def back(parts: Mapping[str, Array], origins: list[Origin], inputs: Inputs) -> dict[str, Array]:
    """What comes back to each input of the first question: a sum over where its numbers went."""
    total = np.zeros(1 + sum(array.size for array in inputs.values()))
    for origin in origins:
        np.add.at(total, origin.places.astype(int).ravel(), parts[origin.name].ravel())
    found, start = {}, 1
    for name, array in inputs.items():
        found[name] = total[start : start + array.size].reshape(array.shape)
        start += array.size
    return found
