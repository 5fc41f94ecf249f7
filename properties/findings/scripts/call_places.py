"""Where in what a call has returned its output and what else was asked for are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import torch

from properties.findings.call_tape import Asked
from properties.findings.scripts.call_source import TURNED, CallScript, Told
from properties.recognition.adapters.torch_multihead import CausalMultihead
from properties.recognition.adapters.torch_multihead import asked as asked_as_told
from properties.recognition.asking.caches import all_that_comes
from properties.recognition.asking.functions import Manner
from properties.recognition.asking.modules import ModuleManner, weights_of
from properties.subjects.results import output_in, parts


def place(script: CallScript, told: Told, name: str) -> str:
    """What follows the name of what a call returned, to read a part of it in our layout."""
    asked, manner = told.call.question, script.manner
    if not isinstance(manner, Manner):
        return place_of_module(manner, told.call, name)
    parts, options = manner.handed(asked.inputs, asked.arguments, asked.case.dtype)
    returned = manner.call(*parts.values(), **options)
    where = manner.places(returned, asked.inputs, asked.arguments)[name]
    index = f"[{where}]" if isinstance(returned, tuple | list) else ""
    turned = script.turned if name == "output" and where == 0 else ""
    if name == "lse" and manner.conventions.lse_axes == "B T H":
        turned = TURNED
    return index + turned


def place_of_module(manner: ModuleManner, call: Asked, name: str) -> str:
    """The same of a module, which is called once more for it."""
    if not manner.batched:
        return ""
    asked = call.question
    given = manner.given(call.module, asked.inputs, asked.arguments, asked.case.dtype)
    module = call.module
    with torch.no_grad(), all_that_comes(module):
        returned = manner.run(
            (asked_as_told(module) if isinstance(module, CausalMultihead) else module).train(
                call.handing.training
            ),
            given,
        )
    if isinstance(returned, torch.Tensor):
        return ""
    found = parts(returned)
    if name == "output":
        output = output_in(returned, given["x"])
        return part_of(returned, next(n for n, part in enumerate(found) if part is output))
    others = (n for n in range(1, len(found)) if weights_of([found[n]], asked.inputs) is not None)
    return part_of(returned, manner.always or next(others))


def part_of(returned: Any, place: int) -> str:
    """How the part at this place of what was returned is read: by its number, key or field."""
    if isinstance(returned, Mapping):
        return f"[{list(returned)[place]!r}]"
    if isinstance(returned, tuple | list):
        return f"[{place}]"
    return f".{fields(returned)[place].name}"
