"""What a module keeps of an earlier call: its later answers are those to a question of both.

Each question of a battery is asked of a new module, so only a law that asks one twice can tell.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from properties.cases.question import Question
from properties.findings.names.calls.form import RIGHT, agrees
from properties.findings.names.calls.items import Item

Mixed = Callable[[Question, Question], Question]


def with_context(asked: Question, earlier: Question) -> Question:
    """X of a call, the context of one before."""
    inputs = {**asked.inputs, **{n: a for n, a in earlier.inputs.items() if n == "context"}}
    return asked.with_inputs(inputs)


def with_arguments(asked: Question, earlier: Question) -> Question:
    """The inputs of a call, what another one was told."""
    return replace(asked, arguments=earlier.arguments)


KEPT: Mapping[str, Mixed] = {
    "context of an earlier call; look for keys and values that are kept": with_context,
    "mask of an earlier call; look for masks that are kept": with_arguments,
}
"""By name, the question that is answered."""


def of_an_earlier_call(items: Sequence[Item]) -> list[str]:
    """The names that explain each wrong answer among those of one module, in the order of its calls."""
    wrong = [number for number, item in enumerate(items) if item.off]
    return [
        name
        for name, mixed in KEPT.items()
        if wrong and all(kept(items[number], items[:number], mixed) for number in wrong)
    ]


def kept(item: Item, earlier: Sequence[Item], mixed: Mixed) -> bool:
    """Whether an answer is the one to a question of this call and of one before."""
    return any(
        before.asked.shape == item.asked.shape
        and agrees(RIGHT, mixed(item.asked, before.asked), item.answer)
        for before in earlier
    )
