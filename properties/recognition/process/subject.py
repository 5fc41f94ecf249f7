"""A program becomes a subject: by what it says of itself, each claim of which is tried once."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from properties.basics.errors import QuestionError, SubjectError
from properties.recognition.adapters import crossing, qkv_function, torch_module
from properties.recognition.adapters.module_subject import ModuleSubject
from properties.recognition.asking import finding, packed, probing
from properties.recognition.asking.caches import CacheManner
from properties.recognition.asking.functions import Manner
from properties.recognition.process.function import Process, unusable
from properties.recognition.process.messages import (
    ARGUMENTS,
    BESIDE_DOCUMENTS,
    FORMATS,
    LATER,
    OPTIONS,
    SIZES,
    TOLD,
    WORDS,
    Hello,
)
from properties.recognition.process.modules import argument_of
from properties.subjects.call import ANSWERS, Arguments
from properties.subjects.instance import describe
from properties.subjects.subject import Subject

PREFIX = "process:"
SMALL: dict[str, Any] = {
    "embed_dim": 4,
    "d_in": 4,
    "d_out": 4,
    "num_heads": 2,
    "num_kv_heads": 1,
    "context_length": 3,
    "d_context": 4,
    "qkv_bias": True,
    "dropout": 0.0,
}
"""What the smallest module is built with."""
TOKENS = torch.ones(1, 3, 4)
OF_KEYS = {
    "mask": torch.eye(3, dtype=torch.bool)[None],
    "bias": torch.eye(3)[None],
    "padding": torch.eye(3, dtype=torch.bool)[:1],
}
SMALL_TOLD = {"context": TOKENS, **OF_KEYS} | {f"context_{n}": part for n, part in OF_KEYS.items()}
"""What its first calls are told."""
UNCLAIMED = "the program does not claim it"
STEPS = CacheManner(past="past", place=0)
"""How a module of a program is fed a sequence: see `ProgramModule.forward`."""
FURTHER = {
    "weights": Arguments(weights=True),
    "lse": Arguments(lse=True),
}


def command_of(target: str) -> str | None:
    """The command in a TARGET process:CMD; None for any other."""
    return target.removeprefix(PREFIX).strip() if target.startswith(PREFIX) else None


def subject(target: str | Process, family: str | None) -> Subject:
    """The subject that a program is, or process:CMD; QuestionError where it does not do what it says of
    itself.
    """
    process = target if isinstance(target, Process) else Process(command_of(target) or "")
    made = (
        of_function(process, family)
        if process.hello.module is None
        else of_modules(process, family)
    )
    made.capabilities |= {"program"}
    gradients = process.hello.gradients
    unclaimed = {"dropout": claims_dropout(process.hello), "gradients": gradients}
    absent = {name: UNCLAIMED for name, claimed in unclaimed.items() if not claimed}
    made.lacking = {**made.lacking, **absent}
    lost = [role for role in process.hello.takes if role not in (*made.takes, "dropout")]
    if lost:
        raise unusable(
            process.command, f"says that it takes {lost[0]}, and no call with it is answered"
        )
    held = made.held_to(process.hello.conventions)
    held.name = PREFIX + process.command
    return held


def claims_dropout(hello: Hello) -> bool:
    """Whether a call, or a constructor, can be told a probability."""
    return "dropout" in (hello.takes if hello.module is None else hello.module.options)


def of_function(process: Process, family: str | None) -> Subject:
    """A program that is a function of queries, keys and values."""
    require_claims(process)
    function = qkv_function.understand(process, PREFIX + process.command)
    if function.packed:
        function = replace(function, layout=packed.LAYOUT)
    found, remark = qkv_function.found_family(function)
    made = qkv_function.FunctionSubject(function, family or found)
    if not made.has("other arrays"):  # it is called by what packs documents
        crossing.cross(made, process, process, [])
    notes = [*own_notes(made), *said(process)]
    made.notes = tuple(notes if family or not remark else [*notes, remark])
    return made


def own_notes(made: Subject) -> list[str]:
    """What was found, without the formats that are not claimed."""
    return [note for note in made.notes if not note.startswith("not asked in")]


def of_modules(process: Process, family: str | None) -> Subject:
    """A program that has modules with weights, understood as a class of torch's is."""
    claim = process.hello.module
    assert claim is not None
    require_modules(process)
    made = torch_module.subject(process.module, family or claim.family)
    assert isinstance(made, ModuleSubject)
    made.capabilities |= {"other arrays"}  # what is torch's alone is not asked
    made.lacking = dict.fromkeys(made.lacking, UNCLAIMED)
    made.differentiable = process.hello.gradients
    made.notes = (*own_notes(made), *said(process))
    take_as_claimed(made, process)
    if claim.cache:
        made.remembering = STEPS
        made.cache, made.cached_in = "by begin and step", made.dtypes
        made.origins = {**made.origins, "cache": "declared"}
        made.capabilities |= made.remembering.offers
    return made


def take_as_claimed(made: ModuleSubject, process: Process) -> None:
    """With what it says that it takes and no trial has understood: laws tell what is wrong then.

    QuestionError where it is not known what true means in a mask.
    """
    hello = process.hello
    lost = [role for role in sorted(hello.takes) if role not in made.takes]
    mute = [role for role in lost if role in ANSWERS and role not in hello.conventions]
    if mute:
        raise unusable(
            process.command,
            f"says that it takes {mute[0]}, and neither among its conventions what true means in it, nor "
            "does it show that in a call",
        )
    takes = {role: argument_of(role) for role in lost}
    made.takes = {**made.takes, **takes, **({"lengths": ""} if "context" in takes else {})}
    made.manner = replace(made.manner, takes=made.takes)
    made.unasked = {n: text for n, text in made.unasked.items() if n not in takes.values()}


def require_modules(process: Process) -> None:
    """QuestionError where a module of the smallest kind is not built, or a small call of what it says that
    it takes is not answered.
    """
    hello = process.hello
    assert hello.module is not None
    needed = ["context"] if hello.module.family == "cross" else []
    named = {name: SMALL[name] for name in inspect.signature(process.module).parameters}

    def asked(dtype: str, *roles: str, **told: object) -> Callable[[], object]:
        """A call in a format."""
        parts = {"x": TOKENS} | {argument_of(role): SMALL_TOLD[role] for role in (*needed, *roles)}
        fmt = getattr(torch, dtype)
        given = {n: part.to(fmt) if part.is_floating_point() else part for n, part in parts.items()}

        def ask() -> object:
            with torch.random.fork_rng(devices=[]):
                module = process.module(**named).to(fmt).eval()
            output = module(**given, **told)
            if hello.gradients and output.shape == TOKENS.shape and not told:  # else laws tell it
                output.sum().backward()
            return output

        return ask

    for dtype in hello.formats:
        tried(process, f"in {dtype}", asked(dtype))
    for role in sorted(hello.takes):
        beside = ["context"] * role.startswith("context")
        tried(process, f"with {role}", asked("float32", *beside, role))
    if hello.module.cache:
        tried(process, "fed to a cache", asked("float32", past={}))


def said(process: Process) -> list[str]:
    """What the program does not say that it takes, and so is not asked."""
    name, module = process.hello.name, process.hello.module
    if "documents" in process.hello.takes:
        known: tuple[str, ...] = BESIDE_DOCUMENTS
    else:
        later = LATER if process.hello.version > 1 else ()
        known = (*WORDS, *later, *SIZES) if module is None else TOLD
    absent = [role for role in known if role not in process.hello.takes]
    absent += [option for option in OPTIONS if module and option not in module.options]
    notes = [f"the program calls itself {name}"] if name else []
    absent += [name for name in FORMATS if name not in process.hello.formats]
    return notes + (
        [f"not claimed by the program, not asked: {', '.join(absent)}"] if absent else []
    )


def require_claims(process: Process) -> None:
    """QuestionError where a small call of what it says that it takes is not answered."""
    manner = Manner(process, {role: ARGUMENTS.get(role, "") for role in process.hello.takes})
    if "documents" in manner.takes:
        names = ARGUMENTS["documents"], ARGUMENTS["documents_of_keys"], "", ""
        manner = replace(manner, call=packed.Packed(process, names), layout=packed.LAYOUT)
    plain = probing.level(3, 3)
    for dtype in process.hello.formats:
        tried(process, f"in {dtype}", partial(manner.ask, plain, Arguments(), dtype))
    dtype = process.hello.formats[0]
    for role, told in (finding.EACH | FURTHER).items():
        if role in process.hello.takes:
            tried(process, f"with {role}", partial(manner.ask, plain, told, dtype))
    sizes = {"groups": probing.level(3, 3, heads=4, groups=2), "lengths": probing.level(3, 4)}
    for role, inputs in sizes.items():
        if role in process.hello.takes:
            tried(process, f"with {role}", partial(manner.ask, inputs, Arguments(), dtype))


def tried(process: Process, what: str, ask: Callable[[], object]) -> None:
    """QuestionError where a call that the program says it takes is not answered."""
    try:
        ask()
    except QuestionError:
        raise
    except SubjectError as error:
        raise unusable(process.command, f"{error}: in a call of three tokens {what}") from error
    except Exception as error:
        text = (
            f"refuses a call of three tokens {what}, which it says that it takes: {describe(error)}"
        )
        raise unusable(process.command, text) from error
