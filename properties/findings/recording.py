"""What a check does with its subject: every module that is built and every call of one, in order.

A check asks through `Case` and `Instance`, some also call the module itself; so it is the modules
that are watched, by torch's global hooks, which leave no trace in a module that is copied or saved.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
)

from properties.basics.assertions import Violation
from properties.basics.dtypes import Array
from properties.basics.errors import SubjectError
from properties.cases.case import Case
from properties.findings.kept import Kept
from properties.recognition.adapters.image import of_tokens
from properties.recognition.adapters.module_subject import ModuleSubject
from properties.recognition.adapters.output_first import OutputFirst
from properties.recognition.asking.caches import OutputAlone
from properties.spec.clause import Clause
from properties.subjects.instance import to_array
from properties.subjects.subject import Config, Subject
from properties.truth.parameters import Weights


@dataclass(frozen=True, eq=False)
class Build:
    """A module that was built: for what request, and the tensors it held then, by their names.

    places: how each is reached from the module, `.heads[0].weight`, before a call changes that.
    """

    subject: Subject
    module: nn.Module
    config: Config
    weights: Weights | None
    tensors: Mapping[str, Array]
    places: Mapping[str, str]


@dataclass(frozen=True, eq=False)
class Layout:
    """How the numbers of a tensor lie in memory."""

    size: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int
    length: int

    @classmethod
    def of(cls, x: Tensor) -> Layout:
        """The layout of a tensor."""
        length = x.untyped_storage().nbytes() // x.element_size()
        return cls(tuple(x.shape), x.stride(), int(x.storage_offset()), length)


@dataclass(eq=False)
class Call:
    """One call of a module. seed: what torch's generator had been seeded with, if just before.

    differentiable: whether gradients of the input were asked for; touched: whether the call wrote
    to its input. One of `output` and `error` is there once the call has returned.
    """

    build: Build
    x: Array
    layout: Layout
    training: bool
    differentiable: bool
    seed: int | None
    output: Any = None
    error: BaseException | None = None
    touched: bool = False


@dataclass
class Tape:
    """The modules and calls of one check, in order; refused: what no module was built for."""

    events: list[Build | Call] = field(default_factory=list)
    refused: list[Config] = field(default_factory=list)

    @property
    def calls(self) -> list[Call]:
        """The calls alone."""
        return [event for event in self.events if isinstance(event, Call)]


class Recorded(Kept):
    """A subject whose modules are noted as they are built."""

    def __init__(self, subject: Subject, tape: Tape) -> None:
        """Behave as `subject` does."""
        super().__init__(subject)
        self.tape = tape
        # The modules are kept, too, so that no other one gets the id of one that is gone.
        self.modules: dict[int, tuple[nn.Module, Build]] = {}

    def build(self, config: Config, weights: Weights | None) -> Any:
        """What the subject builds."""
        fresh = constructed(self.original, config)
        self.tape.refused.append(config)
        module = super().build(config, weights)
        self.tape.refused.pop()
        if isinstance(module, nn.Module):
            held = tensors(self.apart(module, config, weights), fresh)
            places = {path: place(module, path) for path in held}
            build = Build(self.original, module, config, weights, held, places)
            self.modules[id(module)] = module, build
            self.tape.events.append(build)
        return module

    def apart(self, module: nn.Module, config: Config, weights: Weights | None) -> nn.Module:
        """The module, or where its parts are one and the same, one with parts of their own.

        What was written into a shared part first is gone, and a module that shares nothing needs it.
        """
        parts = [part for _, part in module.named_modules(remove_duplicate=False)]
        if len(set(map(id, parts))) == len(parts) or not isinstance(self.original, ModuleSubject):
            return module
        own = separated(module)
        self.original.fill(own, config, weights)
        return own

    def collect(self, named: Mapping[str, Array], config: Config) -> Weights | None:
        """What the subject collects."""
        return self.original.collect(named, config)


def separated(module: nn.Module) -> nn.Module:
    """A copy of the module in which a part that stands in several places is several parts."""
    own = deepcopy(module)
    seen = set()
    for path, part in list(own.named_modules(remove_duplicate=False)):
        if id(part) in seen:
            parent, _, name = path.rpartition(".")
            setattr(own.get_submodule(parent), name, deepcopy(part))
        seen.add(id(part))
    return own


def built(case: Case, dropout: float = 0.0, layer: int = 0) -> Build:
    """The module that a case builds, as it is before any call; layer: see `Config`."""
    tape = Tape()
    replace(case, subject=Recorded(case.subject, tape)).build(dropout=dropout, layer=layer)
    return next(event for event in tape.events if isinstance(event, Build))


def constructed(subject: Subject, config: Config) -> dict[str, Tensor]:
    """Copies of what a module holds beside its parameters before weights are loaded into it."""
    try:
        module = subject.build(config, None)
    except Exception:  # the module itself will raise it again
        return {}
    return {name: tensor.clone() for name, tensor in others(module)}


def tensors(module: nn.Module, fresh: Mapping[str, Tensor]) -> dict[str, Array]:
    """All parameters of a module, and what else it holds that is not as in a fresh one."""
    found = {name: to_array(parameter) for name, parameter in module.named_parameters()}
    for name, tensor in others(module):
        if name not in fresh or not torch.equal(fresh[name], tensor):
            found[name] = to_array(tensor)
    return found


def place(module: nn.Module, path: str) -> str:
    """How the tensor at `path` is reached: `.heads[0].weight`."""
    reached = ""
    for part in path.split("."):
        if isinstance(module, nn.ModuleList | nn.Sequential | nn.ParameterList):
            reached += f"[{part}]"
        elif isinstance(module, nn.ModuleDict | nn.ParameterDict):
            reached += f"[{part!r}]"
        else:
            reached += f".{part}"
        module = getattr(module, part, module)
    return reached


def others(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Buffers and plain tensors of a module and its parts, by name."""
    yield from module.named_buffers()
    for prefix, part in module.named_modules():
        for name, value in vars(part).items():
            if isinstance(value, Tensor):
                yield f"{prefix}.{name}".lstrip("."), value


def record(clause: Clause, case: Case) -> Tape:
    """What the clause's check does with the subject on this case, however it ends."""
    tape = Tape()
    subject = Recorded(case.subject, tape)
    # A failure is what is looked for; what was done until then is kept.
    with watched(subject), suppress(Violation, SubjectError):
        clause.check(replace(case, subject=subject))
    return tape


@contextmanager
def watched(subject: Recorded) -> Iterator[None]:
    """Note every call of the subject's modules."""
    pending: list[Call] = []

    def before(module: nn.Module, args: tuple[Any, ...]) -> None:
        if id(module) in subject.modules and args and isinstance(args[0], Tensor):
            x = args[0]
            grad = x.requires_grad and torch.is_grad_enabled()
            build = subject.modules[id(module)][1]
            seed = just_seeded()
            pending.append(Call(build, to_array(x), Layout.of(x), module.training, grad, seed))
            subject.tape.events.append(pending[-1])

    def after(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if id(module) in subject.modules and pending:
            call, x = pending.pop(), to_array(of_tokens(module, args[0]))
            output = alone(module, args, of_tokens(module, output))
            call.touched = not torch.equal(
                torch.from_numpy(x).nan_to_num(), torch.from_numpy(call.x).nan_to_num()
            )
            call.error = sys.exc_info()[1]
            call.output = output.detach().clone() if isinstance(output, Tensor) else output

    handles = (
        register_module_forward_pre_hook(before),
        register_module_forward_hook(after, always_call=True),
    )
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def alone(module: nn.Module, args: tuple[Any, ...], returned: Any) -> Any:
    """What is judged of what a call of a module returned: hooks of its own come after those that watch."""
    for hook in module._forward_hooks.values():
        if isinstance(hook, OutputFirst):
            returned = hook(module, args, returned)
        elif isinstance(hook, OutputAlone):
            returned = hook(module, args, {}, returned)
    return returned


def just_seeded() -> int | None:
    """The seed of torch's generator, if nothing has been drawn from it since it was set."""
    seed = torch.initial_seed()
    fresh = torch.Generator().manual_seed(seed).get_state()
    return seed if torch.equal(fresh, torch.get_rng_state()) else None
