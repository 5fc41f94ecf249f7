"""A call written down as it is made: the tensors, the arguments by the subject's own names, the call.

Legend: B batch, H query heads, G key-value heads, T queries, S keys, D head_dim.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from properties.findings.call_tape import Asked, CallTape
from properties.findings.recording import Build
from properties.findings.scripts import text
from properties.findings.scripts.construction import called, packing, program_of
from properties.findings.scripts.script import Script, equal
from properties.recognition.adapters.module_subject import ModuleSubject
from properties.recognition.adapters.torch_multihead import CausalMultihead, TorchMultihead
from properties.recognition.asking import packed
from properties.recognition.asking.caches import all_that_comes
from properties.recognition.asking.functions import Manner
from properties.recognition.asking.modules import ModuleManner, one_of
from properties.recognition.asking.modules import called as called_as_told
from properties.recognition.asking.on_itself import OnItself
from properties.subjects.call import PLAINLY
from properties.subjects.subject import Subject

OWN = {"queries": "query", "keys": "key", "values": "value"}
TURNED = ".transpose(1, 2)"  # between (B, H, T, D) and (B, T, H, D)
TAKEN = {"tensor", "near", "right", "derived", "sees", "ahead", "expected", "allowed", "upstream"}
"""Names of a script that no tensor of a call may have."""
OTHER_NUMBERS = "part.copy_(part.flip(-1, 0) if part.ndim > 1 else part.flip(0))"


def manner_of(subject: Subject) -> Manner | ModuleManner | None:
    """How the subject is called; None where that cannot be written down."""
    manner = getattr(subject, "manner", None)
    if not isinstance(manner, Manner | ModuleManner):
        return None
    if "context_values" in manner.takes and not isinstance(subject, ModuleSubject | TorchMultihead):
        return None
    return replace(manner, conventions=subject.conventions)


@dataclass(frozen=True, eq=False)
class Told:
    """A call that is written down. output: the name of what it returns; parts: the names of its inputs,
    as (B, H, T, D) or (B, T, d_in), by ours; options: the source of each argument by the subject's
    name for it; tensors: those arguments that are tensors.
    """

    call: Asked
    output: str
    parts: dict[str, str]
    options: dict[str, str]
    tensors: dict[str, Tensor]


@dataclass
class CallScript(Script):
    """A script of calls. apart: whether equal modules are several all the same, since an earlier call
    may leave something behind.
    """

    tape: CallTape | None = None
    apart: bool = False
    names: dict[tuple[str, str], str] = field(
        default_factory=dict
    )  # by the usual one and the source
    builds: list[Build] = field(default_factory=list)
    told: int = 0
    alone: bool = False

    @property
    def manner(self) -> Manner | ModuleManner:
        """How the subject is called."""
        manner = manner_of(self.subject)
        if manner is None:
            raise TypeError(f"{self.subject.name}: it is not known how its calls are written down")
        return manner

    @property
    def turned(self) -> str:
        """What makes the subject's layout of (B, H, T, D), and the other way round."""
        turned = ("B T H D", packed.LAYOUT)
        return TURNED if getattr(self.manner, "layout", "") in turned else ""

    @property
    def needs(self) -> str:
        """What the file needs, in words."""
        alone = self.subject.bare and program_of(self.subject) is None
        return "torch, NumPy and the function alone" if alone else super().needs

    def prelude(self) -> list[str]:
        """Nothing is put around a function whose calls are its own, but for what packs documents."""
        return packing(self.subject) if self.subject.bare else super().prelude()

    def tell(self, call: Asked, *, grad: bool) -> Told:
        """Write the tensors of a call. grad: whether the inputs and a bias require gradients."""
        asked, manner = call.question, self.manner
        given = (asked.inputs, asked.arguments, asked.case.dtype)
        if isinstance(manner, Manner):
            options: dict[str, Any] = manner.handed(*given, call.handing.dropout)[1]
        else:
            options = manner.given(call.module, *given)
            options |= manner.starting(call.module, options.pop("x"), asked.arguments.start)
        leaf = ".requires_grad_()" if grad else ""
        parts = {
            name: self.named(OWN.get(name, name), text.typed(array, asked.case.dtype) + leaf)
            for name, array in asked.inputs.items()
            if name in OWN or name == "x"
        }
        leaves = self.leaves(call)
        tensors = {n: value for n, value in options.items() if isinstance(value, Tensor)}
        told = {name: repr(value) for name, value in options.items()}
        for name, tensor in tensors.items():
            source = text.given(tensor) + leaf * (name in leaves)
            told[name] = self.named(name, source, self.meaning(name, tensor))
        self.told += 1
        return Told(call, f"output_{self.told}", parts, told, tensors)

    def leaves(self, call: Asked) -> list[str]:
        """The arguments of which gradients may be asked: a bias of functions, a context of modules."""
        asked, takes = call.question, self.subject.takes
        if asked.function:
            return [takes.get("bias", "")] if asked.arguments.bias is not None else []
        return [takes["context"]] if "context" in asked.inputs else []

    def meaning(self, name: str, tensor: Tensor) -> str:
        """What True means in a mask, as a remark."""
        roles = [role for role, own in self.subject.takes.items() if own == name]
        found = [getattr(self.manner.conventions, role, "") for role in roles]
        says = {"attend": "  # True: seen", "hide": "  # True: hidden"}
        return "".join(says[one] for one in set(found) & set(says)) * (tensor.dtype == torch.bool)

    def named(self, name: str, source: str, remark: str = "") -> str:
        """The name of a tensor, which is written if none of this name has these numbers."""
        name = f"{name}_" if name in TAKEN else name
        if (name, source) not in self.names:
            used = set(self.names.values())
            number = next(n for n in range(1, len(used) + 2) if numbered(name, n) not in used)
            self.names[name, source] = numbered(name, number)
            self.lines.append(f"{self.names[name, source]} = {source}{remark}")
        return self.names[name, source]

    def expression(self, told: Told, parts: Sequence[str]) -> str:
        """The call. parts: the sources of its inputs."""
        parts, options, items = self.for_items(told, parts)
        given = [*parts, *(f"{name}={value}" for name, value in options.items())]
        callee = called(self.subject) if self.subject.bare else self.module_of(told.call)
        if isinstance(told.call.module, OnItself | CausalMultihead):
            callee = f"{callee}.told"
        if len(line := items.format(f"{callee}({', '.join(given)})")) <= text.WIDTH:
            return line
        return items.format(
            f"{callee}(\n{''.join(f'        {one},{chr(10)}' for one in given)}    )"
        )

    def for_items(
        self, told: Told, parts: Sequence[str]
    ) -> tuple[Sequence[str], dict[str, str], str]:
        """Inputs and arguments as one item has them, and what is put around its call, where a module is
        called for one item after the other.
        """
        manner, options = self.manner, dict(told.options)
        if not isinstance(manner, ModuleManner):
            return parts, options, "{}"
        whole = manner.without_items(options)
        if manner.batched and not whole:
            return parts, options, "{}"
        kept = "item : item + 1" if manner.batched else "item"
        for name in told.tensors:
            options[name] += "[item]" if name in whole else f"[{kept}]"
        joined = "cat" if manner.batched else "stack"
        count = len(told.call.question.inputs["x"])
        first = "[0]" if several(manner, told.call, whole) else ""
        around = f"torch.{joined}([{{}}{first} for item in range({count})])"
        return [f"{part}[{kept}]" for part in parts], options, around

    def module_of(self, call: Asked) -> str:
        """The name of the module of a call, which is built if it has none."""
        assert self.tape is not None
        build = self.tape.subject.built(call.module)
        twins = (b for b in self.builds if b is build or (not self.apart and equal(b, build)))
        twin = next(twins, build)
        if twin is build and id(build) not in self.modules:
            self.builds.append(build)
            self.build(build)
            self.lines.append(f"{self.modules[id(build)]}.eval()")
        return self.modules[id(twin)]

    def ask(self, call: Asked, *, attempt: bool = False) -> Told:
        """A call as it was made. attempt: what it raises does not matter."""
        module = "" if self.subject.bare else self.module_of(call)
        self.lines.append("")
        told, handing = self.tell(call, grad=call.upstream is not None), call.handing
        parts = [name + self.turned for name in told.parts.values()]
        if handing.dropout:
            self.lines.append(f"torch.manual_seed({call.question.case.seed})")
        if handing.stored:
            parts = stored(told, parts)
        if handing.again:
            parts = self.filled_before(told, parts)
        if handing.gradients and not module:
            parts = [f"{part}.detach().requires_grad_()" for part in parts]
        if handing.training:
            self.lines.append(f"{module}.train()")
        if handing.gradients or call.upstream is not None or self.records(call):
            self.lines.append(f"{told.output} = {self.expression(told, parts)}")
            self.lines += [f"{module}.eval()"] * handing.training
            return told
        context = "torch.no_grad(), suppress(Exception)" if attempt else "torch.no_grad()"
        self.lines += [f"with {context}:", f"    {told.output} = {self.expression(told, parts)}"]
        return told

    def records(self, call: Asked) -> bool:
        """Whether gradients are recorded where nothing else is said."""
        return call.handing is PLAINLY and getattr(self.manner, "recording", False)

    def filled_before(self, told: Told, parts: Sequence[str]) -> list[str]:
        """The same tensors held other numbers in a call before; the names of the inputs."""
        own = [f"{name}_given" for name in told.parts.values()]
        self.lines += [f"{name} = {part}" for name, part in zip(own, parts, strict=True)]
        self.lines += [
            f"given = [{', '.join((*own, *(told.options[name] for name in told.tensors)))}]",
            "numbers = [part.clone() for part in given]",
            "with torch.no_grad():  # a call with other numbers in the same tensors",
            "    for part in given:",
            f"        {OTHER_NUMBERS}",
            f"    {self.expression(told, own)}",
            "    for part, before in zip(given, numbers, strict=True):",
            "        part.copy_(before)",
        ]
        return own


def several(manner: ModuleManner, call: Asked, whole: set[str]) -> bool:
    """Whether a module that is called for one item returns more than an output."""
    asked = call.question
    given = manner.given(call.module, asked.inputs, asked.arguments, asked.case.dtype)
    with torch.no_grad(), all_that_comes(call.module):
        returned = called_as_told(call.module, one_of(given, 0, whole))
    return isinstance(returned, tuple | list)


def numbered(name: str, number: int) -> str:
    """`mask`, then `mask_2`."""
    return name if number == 1 else f"{name}_{number}"


def stored(told: Told, parts: Sequence[str]) -> list[str]:
    """The sources of the inputs, where one of them, or what is told, lies in memory in another order."""
    handing = told.call.handing
    if handing.which == "told":
        for name, tensor in told.tensors.items():
            if tensor.ndim > 1:
                between = "True" if not tensor.is_floating_point() else "torch.nan"
                told.options[name] = reordered(told.options[name], handing.stored, between)
        return list(parts)
    return [
        reordered(part, handing.stored, "torch.nan") if name == handing.which else part
        for name, part in zip(told.parts, parts, strict=True)
    ]


def reordered(part: str, how: str, between: str) -> str:
    """A tensor with the same numbers, transposed in memory, or with others between them."""
    if how == "transposed":
        return f"{part}.mT.contiguous().mT"
    return f"torch.stack([{part}, torch.full_like({part}, {between})], dim=-1)[..., 0]"
