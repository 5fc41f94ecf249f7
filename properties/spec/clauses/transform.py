"""transform/: PyTorch's transformations of a module compute what the module itself computes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import replace
from io import StringIO

import numpy as np
import torch
from torch import Tensor, nn

from properties.basics.assertions import Violation, near
from properties.basics.dtypes import Array
from properties.cases.budgets import difference
from properties.cases.case import Case
from properties.spec.clause import Level, clause
from properties.spec.clauses.shape import emptied
from properties.spec.clauses.state import require_same_state
from properties.subjects.instance import Instance, describe, to_array
from properties.subjects.subject import PROJECTED_FAMILIES

AXES = "batch token column"


@clause(
    "transform/functional-call",
    Level.SHOULD,
    "`torch.func.functional_call` with another module's parameters gives that module's output.",
    families=PROJECTED_FAMILIES,
    needs={"module"},
    examples=40,
    unless={"other arrays"},
)
def functional_call(case: Case) -> float:
    """Gradients per example and ensembles call one module with many sets of parameters. What is
    read past them, or kept from another call, is the old value. The module keeps its own.
    """
    parameters: dict[str, Tensor] = dict(case.build().module.named_parameters())
    blank = emptied(case).build()
    before = blank.state()
    blank.run(case.x)

    def call(x: Tensor) -> Tensor:
        result: Tensor = torch.func.functional_call(blank.module, parameters, (x,))
        return result

    output = transformed("torch.func.functional_call", call, blank, case.x)
    require_same_state(before, blank.state())
    return near("of the parameters' own module", output, case.output, difference(case), AXES)


def transformed(
    name: str, call: Callable[[Tensor], Tensor], instance: Instance, x: Array, whole: bool = False
) -> Array:
    """The output of a transformed module in eval mode, for the axes that the subject takes.

    whole: `call` takes (B, T, d_in) in any case. Whatever it raises is the transformation's answer.
    """
    instance.module.eval()
    batch = instance.tensor(x)
    try:
        with torch.no_grad(), quietly():
            if whole or instance.batched:
                return to_array(call(batch))
            return to_array(torch.stack([call(item) for item in batch]))
    except Exception as error:  # whatever it is, it is the subject's
        raise Violation(f"an output under {name}", describe(error), {}) from error


@contextmanager
def quietly() -> Iterator[None]:
    """PyTorch logs and prints at length what it cannot transform; the verdict says it in a line."""
    before = logging.root.manager.disable
    logging.disable()
    try:
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            yield
    finally:
        logging.disable(before)


@clause(
    "transform/vmap-equals-loop",
    Level.SHOULD,
    "`torch.vmap` over the items of a batch gives what a loop over them gives.",
    needs={"module"},
    examples=40,
    unless={"other arrays", "on a device"},
)
def vmap_equals_loop(case: Case) -> float:
    """No step may look at a value in order to decide what to do next, or write into a tensor that
    lacks the mapped axis.
    """
    instance = case.build()

    def alone(item: Tensor) -> Tensor:
        result: Tensor = (
            instance.module(item[None])[0] if instance.batched else instance.module(item)
        )
        return result

    output = transformed("torch.vmap", torch.vmap(alone), instance, case.x, whole=True)
    looped = np.concatenate([instance.run(item[None]) for item in case.x])
    return near("what the loop gives,", output, looped, difference(case), AXES)


class Inside(nn.Module):
    """A module as part of another one, so that its hooks are part of the program."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        """What the part gives."""
        result: Tensor = self.inner(x)
        return result


@clause(
    "transform/export-equals-eager",
    Level.SHOULD,
    "The program that `torch.export` makes of the module computes what the module computes.",
    needs={"module"},
    examples=2,
    unless={"other arrays", "on a device"},
)
def export_equals_eager(case: Case) -> float:
    """Deployment runs the exported program. Branches on values and state kept in Python are frozen
    into it as they were while it was made, so it is run on other inputs than that: x, and -x, which
    takes the other branch of most.
    """
    instance = case.build()
    around = bool(instance.module._forward_pre_hooks_with_kwargs) or "forward" in vars(
        instance.module
    )
    module = Inside(instance.module) if around else instance.module  # what is ours no program keeps

    def call(x: Tensor) -> Tensor:
        program = torch.export.export(module, (torch.zeros_like(x),)).module()
        return torch.stack([program(x), program(-x)], dim=-1)

    outputs = transformed("torch.export", call, instance, case.x)
    return max(
        near("the module's own", outputs[..., n], asked.output, difference(asked), AXES)
        for n, asked in enumerate((case, replace(case, x=-case.x)))
    )


@clause(
    "transform/compile-equals-eager",
    Level.SHOULD,
    "The module compiled by `torch.compile` computes what the module computes.",
    needs={"module"},
    examples=2,
    unless={"other arrays"},
    since="thorough",
)
def compile_equals_eager(case: Case) -> float:
    """What is traced and rewritten must not depend on what Python saw while it was traced. The
    rewritten program is run as it is (backend aot_eager): the code that a compiler makes of it is no
    part of the subject.
    """
    instance = case.build()
    torch.compiler.reset()  # what another case has left would count against the limit of variants
    compiled = torch.compile(instance.module, backend="aot_eager")
    output = transformed("torch.compile", compiled, instance, case.x)
    return near("the module's own", output, case.output, difference(case), AXES)
