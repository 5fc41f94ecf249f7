"""What calls leave behind: arguments that they have written to, outputs in the memory of an input."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from properties.findings.call_tape import Asked
from properties.findings.scripts.call_places import place
from properties.findings.scripts.call_source import TURNED, CallScript, Told
from properties.spec.clause import Clause

Assertion = Callable[[CallScript, list[Told]], None]


def leftovers(clause: Clause, calls: list[Asked]) -> Iterator[tuple[Asked, Assertion]]:
    """What calls have written to, and outputs that lie in the memory of an input."""
    for call in reversed(calls):
        if call.answer is None or clause.area != "memory":
            continue
        for name in call.answer.touched:
            yield call, untouched(name)
        for name in call.answer.shared:
            yield call, own_memory(name)


def untouched(name: str) -> Assertion:
    """A tensor holds the numbers that it was written with."""

    def says(script: CallScript, told: list[Told]) -> None:
        variable = told[-1].parts.get(name) or told[-1].options[name]
        source = next(s for (_, s), own in script.names.items() if own == variable)
        script.add(
            f"before = {source}",
            f"assert torch.equal({variable}, before), "
            f"f'expected {{before}} untouched, got {{{variable}}}'",
        )

    return says


def own_memory(name: str) -> Assertion:
    """The output has memory of its own."""

    def says(script: CallScript, told: list[Told]) -> None:
        variable = told[-1].parts.get(name) or told[-1].options[name]
        output = told[-1].output + place(script, told[-1], "output").removesuffix(TURNED)
        script.add(
            f"memory = [part.untyped_storage().data_ptr() for part in ({output}, {variable})]",
            f"assert memory[0] != memory[1], 'expected an output with memory of its own, "
            f"it shares that of {variable}'",
        )

    return says
