"""What recipes have in common: an input, the expected output, what must not raise."""

from __future__ import annotations

import numpy as np

from properties.basics.dtypes import Array
from properties.cases.budgets import difference
from properties.cases.case import Case
from properties.findings.recording import built
from properties.findings.scripts import text
from properties.findings.scripts.script import Script


def given(script: Script, case: Case) -> str:
    """The case's input, or its first item where the subject takes one at a time."""
    script.add(f"x = {text.typed(one_item(case, case.x), case.dtype)}")
    return "x"


def one_item(case: Case, array: Array) -> Array:
    """The whole of (B, ...), or the first item where the subject takes one at a time."""
    return array if case.subject.has("batched") else array[0]


def run(script: Script, module: str, x: str, name: str, *, training: bool = False) -> None:
    """A call in one of the modes."""
    script.add(
        f"{module}.{'train' if training else 'eval'}()",
        "with torch.no_grad():",
        f"    {name} = {module}({x})",
    )


def require_right(script: Script, case: Case, name: str, x: str = "x") -> None:
    """The output is the formula's or, where no weights are known, that of a new module."""
    if case.known:
        expected = text.tensor(one_item(case, case.trace.output))
        allowed = text.slack(one_item(case, np.nan_to_num(case.budget.output, nan=np.inf)))
        script.add(f"expected = {expected}", f"allowed = {allowed}")
        script.add(f"near({name}, expected, allowed)")
        return
    new = script.build(built(case))
    run(script, new, x, "expected")
    script.add(f"allowed = {text.slack(one_item(case, difference(case)))}")
    script.add(f"near({name}, expected.to(torch.float64), allowed)")


def attempt(script: Script, statement: str, expected: str) -> None:
    """A statement that must not raise."""
    script.add(
        "try:",
        f"    {statement}",
        "except Exception as error:",
        f"    raise AssertionError(f'expected {expected}, got {{error!r}}') from error",
    )


def refusal(script: Script, statements: list[str], what: str) -> None:
    """Statements of which one is to raise."""
    script.add(
        "try:",
        *(f"    {statement}" for statement in statements),
        "except Exception as error:",
        '    print(f"refused: {error!r}")',
        "else:",
        f"    raise AssertionError({what!r})",
    )
