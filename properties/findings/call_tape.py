"""What a clause asks a subject in calls: each call, how it was handed over, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from torch import nn

from properties.basics.assertions import Violation
from properties.basics.dtypes import Array
from properties.basics.errors import SubjectError
from properties.cases.case import Case
from properties.cases.question import Question
from properties.findings.kept import Kept
from properties.findings.recording import Build, Recorded, Tape
from properties.spec.clause import Clause
from properties.subjects.call import PLAINLY, Answer, Arguments, Handing, Inputs
from properties.subjects.subject import Config
from properties.truth.parameters import Sizes, Weights

Given = TypeVar("Given")


@dataclass(eq=False)
class Asked:
    """One call. module: the one that was asked, None for a function; upstream: what the gradients were
    asked for of, (B, H, T, E) or (B, T, W) of a module, None where they were not; one of answer,
    gradients and error is there once the call has returned.
    """

    question: Question
    module: Any = None
    handing: Handing = PLAINLY
    upstream: Array | None = None
    answer: Answer | None = None
    gradients: Mapping[str, Array] | None = None
    error: BaseException | None = None


class Listening(Kept):
    """One that notes what it is asked."""

    def __init__(self, case: Case) -> None:
        super().__init__(case.subject)
        self.case, self.calls = case, list[Asked]()
        self.made: dict[int, tuple[Any, Sizes, Weights | None]] = {}  # each module, and for what

    def build(self, config: Config, weights: Weights | None) -> Any:
        """What the original builds."""
        module = super().build(config, weights)
        self.made[id(module)] = module, config.sizes, weights
        return module

    def ask(self, module: Any, inputs: Inputs, arguments: Arguments, dtype: str) -> Answer:
        """The original's answer."""
        call = self.noted(inputs, arguments, dtype, module=module)
        call.answer = tried(call, lambda: self.original.ask(module, inputs, arguments, dtype))
        return call.answer

    def ask_handing(
        self, inputs: Inputs, arguments: Arguments, dtype: str, handing: Handing
    ) -> Answer:
        """The original's answer."""
        call = self.noted(inputs, arguments, dtype, handing=handing)
        call.answer = tried(
            call, lambda: self.original.ask_handing(inputs, arguments, dtype, handing)
        )
        return call.answer

    def call_gradients(
        self, inputs: Inputs, arguments: Arguments, upstream: Array, dtype: str
    ) -> dict[str, Array]:
        """The original's gradients."""
        call = self.noted(inputs, arguments, dtype, upstream=upstream)
        found = tried(
            call, lambda: self.original.call_gradients(inputs, arguments, upstream, dtype)
        )
        call.gradients = found
        return found

    def ask_in(
        self, module: Any, inputs: Inputs, arguments: Arguments, dtype: str, handing: Handing
    ) -> Answer:
        """The original's answer."""
        call = self.noted(inputs, arguments, dtype, module=module, handing=handing)
        call.answer = tried(
            call, lambda: self.original.ask_in(module, inputs, arguments, dtype, handing)
        )
        return call.answer

    def module_gradient(
        self, module: Any, inputs: Inputs, arguments: Arguments, upstream: Array, dtype: str
    ) -> Array:
        """The original's gradient."""
        given = (module, inputs, arguments, upstream, dtype)
        call = self.noted(inputs, arguments, dtype, module=module, upstream=upstream)
        found = tried(call, lambda: self.original.module_gradient(*given))
        call.gradients = {"x": found}
        return found

    def context_gradients(
        self, module: Any, inputs: Inputs, arguments: Arguments, upstream: Array, dtype: str
    ) -> dict[str, Array]:
        """The original's gradients."""
        given = (module, inputs, arguments, upstream, dtype)
        call = self.noted(inputs, arguments, dtype, module=module, upstream=upstream)
        call.gradients = found = tried(call, lambda: self.original.context_gradients(*given))
        return found

    def noted(self, inputs: Inputs, arguments: Arguments, dtype: str, **how: Any) -> Asked:
        """A call that is about to be made; a clause may ask a module of other sizes and weights."""
        _, sizes, weights = self.made.get(id(how.get("module")), (None, self.case.sizes, None))
        case = with_heads(self.case, sizes.key_heads)
        if weights is not None:
            case = replace(self.case, sizes=sizes, weights=weights)
        question = Question(replace(case, dtype=dtype), inputs, arguments)
        self.calls.append(Asked(question, **how))
        return self.calls[-1]


def with_heads(case: Case, heads: int) -> Case:
    """The case with so many heads of keys and values: a clause may ask a module of fewer."""
    return case if heads == case.sizes.key_heads else case.take(heads=range(heads))


def tried(call: Asked, ask: Callable[[], Given]) -> Given:
    """What is given; what is raised instead is kept with the call."""
    try:
        return ask()
    except BaseException as error:
        call.error = error
        raise


class Building(Listening):
    """One that notes its modules, too, as they are before any call."""

    def __init__(self, case: Case) -> None:
        super().__init__(case)
        self.recorded = Recorded(case.subject, Tape())

    def build(self, config: Config, weights: Weights | None) -> nn.Module:
        """What the original builds."""
        module: nn.Module = self.recorded.build(config, weights)
        self.made[id(module)] = module, config.sizes, weights
        return module

    def built(self, module: nn.Module) -> Build:
        """How a module was when it was built."""
        return self.recorded.modules[id(module)][1]


@dataclass(frozen=True, eq=False)
class CallTape:
    """The calls of one check, in order, and how it ended: what did not hold, or what was raised."""

    subject: Building
    failure: Violation | SubjectError | None

    @property
    def calls(self) -> list[Asked]:
        """All of them."""
        return self.subject.calls


def listened(clause: Clause, case: Case) -> CallTape:
    """What the clause's check asks in calls on this case, until it fails."""
    subject = Building(case)
    try:
        clause.check(replace(case, subject=subject))
    except (Violation, SubjectError) as failure:
        return CallTape(subject, failure)
    return CallTape(subject, None)


def heard_until_it_fails(clause: Clause, case: Case) -> list[Asked]:
    """The same, of the calls alone."""
    subject = Listening(case)
    with suppress(Violation, SubjectError):  # the failure itself; what was asked until then counts
        clause.check(replace(case, subject=subject))
    return subject.calls
