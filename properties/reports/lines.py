"""Text in lines: whole words, no id, number or command broken, nothing that moves the cursor."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from properties.reports.called import (
    about_a_call,
    call_arrays,
    call_sizes,
    context_size,
    of_a_function,
    roles,
    told_a_module,
)

INDENT = 2
LABEL = 10  # columns of a label with the space after it
SHORT = 24  # numbers of an array that are printed


def printable(text: str) -> str:
    """What a subject says, without what would move the cursor or change colours."""
    return "".join(c if c.isprintable() else " " for c in text)


def wrapped(text: str, width: int, first: str, further: str) -> list[str]:
    """Lines of whole words, the first and the further ones indented so."""
    return textwrap.wrap(
        printable(text),
        width,
        initial_indent=first,
        subsequent_indent=further,
        break_long_words=False,
        break_on_hyphens=False,
    )


def hanging(said: Iterable[tuple[str, str]], width: int, label: int = LABEL) -> list[str]:
    """Each text beside its label, as many lines as it takes."""
    return [
        line
        for name, text in said
        for line in wrapped(text, width, f"{name:<{label - 1}} ", " " * label)
    ]


def filled(chunks: Iterable[str], width: int) -> list[str]:
    """As few lines as hold the chunks, none of which is broken."""
    lines: list[str] = []
    for chunk in chunks:
        if lines and len(lines[-1]) + len(chunk) + 2 <= width:
            lines[-1] += f"  {chunk}"
        else:
            lines.append(chunk)
    return lines


def in_parts(requirement: str, message: str) -> list[tuple[str, str]]:
    """What was required, and a message as what was expected and what came, each with its label."""
    expected, _, actual = message.partition("; got ")
    if not actual:
        return [("requires", requirement), ("but", message)]
    wanted = expected.removeprefix("expected ")
    return [("requires", requirement), ("expected", wanted), ("got", actual)]


def sizes_line(sizes: dict[str, int]) -> str:
    """Sizes in attention's own letters."""
    s = sizes
    groups = f" G={s['groups']}" if s.get("groups") else ""
    return (
        f"B={s['batch']} T={s['tokens']} H={s['heads']}{groups} D={s['head_dim']} d_in={s['d_in']} "
        f"context_length={s['context_length']}"
    )


def arrays(case: dict[str, Any]) -> dict[str, Any]:
    """The arrays of a counterexample by name."""
    return {"x": case["x"], "other": case["other"], **case["weights"]}


def case_lines(
    case: dict[str, Any], clause: str = "", *, whole: bool = False, told: Sequence[str] = ()
) -> list[str]:
    """A counterexample of a clause in attention's own terms; large arrays only where the whole is asked
    for. told: the roles of what a call was told, where no clause says so.
    """
    told = told or roles(clause)
    if about_a_call(case, clause) or (not clause and told and of_a_function(case)):
        return [
            call_sizes(case, told),
            f"{case['dtype']}, seed {case['seed']}",
            *(
                number_line(name, numbers, whole=whole)
                for name, numbers in call_arrays(case, told).items()
            ),
        ]
    options = [case["dtype"], "bias" if case["bias"] else "no bias", f"p = {case['dropout']}"]
    return [
        sizes_line(case["sizes"]) + context_size(case, told),
        f"{', '.join(options)}, seed {case['seed']}, the past ends at token {case['cut']}",
        *(
            number_line(name, numbers, whole=whole)
            for name, numbers in (arrays(case) | told_a_module(case, told)).items()
        ),
    ]


def number_line(name: str, numbers: Any, *, whole: bool = False) -> str:
    """An array on one line, or its shape where it is large."""
    array = np.asarray(numbers)
    if array.size > SHORT and not whole:
        shape = "x".join(map(str, array.shape))
        return f"{name} = {shape} numbers, in the reports as JSON or HTML"
    text = np.array2string(array, separator=", ", precision=9, threshold=array.size + 1)
    return f"{name} = {' '.join(text.split())}"
