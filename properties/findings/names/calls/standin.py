"""A subject that computes a wrong form of a call, and what a clause asks.

Legend: B batch, H heads, T queries, S keys.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
from torch import nn

from properties.basics.dtypes import Array
from properties.cases.case import Case
from properties.cases.question import Question
from properties.findings.call_tape import heard_until_it_fails
from properties.findings.kept import Kept
from properties.findings.names import instead
from properties.findings.names.calls.backward import gradients_of, item
from properties.findings.names.calls.form import RIGHT, Supposed
from properties.findings.names.calls.items import Item
from properties.spec.clause import clauses
from properties.subjects.call import PLAINLY, Answer, Arguments, Handing, Inputs
from properties.subjects.subject import Config
from properties.truth.parameters import Weights

ALIVE = 64  # failing cases of which it is kept what they were asked: those of a run


class Carrying(nn.Module):
    """What a module would be built with: its sizes and its weights."""

    def __init__(self, config: Config, weights: Weights | None) -> None:
        super().__init__()
        self.sizes, self.weights = config.sizes, weights


class Supposing(Kept):
    """One that computes a form, of the inputs of a function or by the weights of a module."""

    def __init__(self, case: Case, supposed: Supposed) -> None:
        super().__init__(case.subject)
        self.case, self.supposed = case, supposed

    def build(self, config: Config, weights: Weights | None) -> Carrying:
        """What the form is computed by."""
        return Carrying(config, weights)

    def ask(self, module: Any, inputs: Inputs, arguments: Arguments, dtype: str) -> Answer:
        """The form's answer, by the conventions of the original."""
        return self.ask_in(module, inputs, arguments, dtype, PLAINLY)

    def ask_in(
        self, module: Any, inputs: Inputs, arguments: Arguments, dtype: str, handing: Handing
    ) -> Answer:
        """The same, in a mode of its own."""
        asked = self.question(module, inputs, arguments, dtype)
        form, kept = self.supposed.of(asked, handing), self.conventions
        with np.errstate(all="ignore"):
            truth = form.truth(asked)
        averaged = arguments.averaged or kept.weights == "averaged"
        weights = truth.weights.mean(axis=1) if averaged else truth.weights
        base = np.log(2.0) if kept.lse == "base 2" else 1.0
        return Answer(
            truth.output,
            weights if arguments.weights else None,
            truth.lse / base if arguments.lse else None,
            form.touched(asked),
        )

    def question(
        self, module: Carrying | None, inputs: Inputs, arguments: Arguments, dtype: str
    ) -> Question:
        """What is asked, of a module by what it carries."""
        case = replace(self.case, dtype=dtype)
        if module is not None:
            case = replace(case, sizes=module.sizes, weights=module.weights)
        return Question(case, inputs, arguments)

    def ask_handing(
        self, inputs: Inputs, arguments: Arguments, dtype: str, handing: Handing
    ) -> Answer:
        """The same, however it is handed over; under dropout nothing is dropped."""
        answer = self.ask_in(None, inputs, arguments, dtype, handing)
        return replace(answer, output=answer.output / (1.0 - handing.dropout))

    def call_gradients(
        self, inputs: Inputs, arguments: Arguments, upstream: Array, dtype: str
    ) -> dict[str, Array]:
        """Those of the form."""
        return self.slopes(self.question(None, inputs, arguments, dtype), upstream)

    def slopes(self, asked: Question, upstream: Array) -> dict[str, Array]:
        """The derivatives of the form, by name."""
        with np.errstate(all="ignore"):
            form = self.supposed.of(asked, Handing(gradients=True))
            return dict(gradients_of(form, asked, upstream).right)

    def module_gradient(
        self, module: Any, inputs: Inputs, arguments: Arguments, upstream: Array, dtype: str
    ) -> Array:
        """That of the form, by x."""
        return self.context_gradients(module, inputs, arguments, upstream, dtype)["x"]

    def context_gradients(
        self, module: Any, inputs: Inputs, arguments: Arguments, upstream: Array, dtype: str
    ) -> dict[str, Array]:
        """Those of the form."""
        return self.slopes(self.question(module, inputs, arguments, dtype), upstream)


@lru_cache(maxsize=ALIVE)
def heard(clause: str, case: Case) -> tuple[Item, ...]:
    """What a clause asks the subject for the sake of a case, until it fails."""
    calls = heard_until_it_fails(clauses()[clause], case)
    return tuple(map(item, calls))


def breaks(supposed: Supposed, clause: str, case: Case) -> bool | None:
    """Whether a subject that computes a form breaks a clause that a right one does not break."""
    wrong, right = (Supposing(case, form) for form in (supposed, Supposed(RIGHT)))
    return instead.breaks(clause, case, wrong, right)
