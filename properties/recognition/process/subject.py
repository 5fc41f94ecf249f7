"""A program becomes a subject: by what it says of itself, each claim of which is tried once."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from properties.basics.errors import QuestionError, SubjectError
from properties.recognition.adapters import qkv_function
from properties.recognition.asking import finding, probing
from properties.recognition.asking.functions import Manner
from properties.recognition.process.function import Process, unusable
from properties.recognition.process.messages import ARGUMENTS, FORMATS, SIZES
from properties.subjects.call import Arguments
from properties.subjects.instance import describe
from properties.subjects.subject import Subject

PREFIX = "process:"
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
    require_claims(process)
    function = qkv_function.understand(process, PREFIX + process.command)
    found, remark = qkv_function.found_family(function)
    made = qkv_function.FunctionSubject(function, family or found)
    notes = [*(n for n in made.notes if not n.startswith("not asked in")), *said(process)]
    made.notes = tuple(notes if family or not remark else [*notes, remark])
    made.capabilities |= {"program"}
    unclaimed = {"dropout": "dropout" in process.hello.takes, "gradients": process.hello.gradients}
    absent = {n: "the program does not claim it" for n, claimed in unclaimed.items() if not claimed}
    made.lacking = {**made.lacking, **absent}
    lost = [role for role in process.hello.takes if role not in (*made.takes, "dropout")]
    if lost:
        raise unusable(
            process.command, f"says that it takes {lost[0]}, and no call with it is answered"
        )
    held = made.held_to(process.hello.conventions)
    held.name = PREFIX + process.command
    return held


def said(process: Process) -> list[str]:
    """What the program does not say that it takes, and so is not asked."""
    absent = [role for role in (*ARGUMENTS, *SIZES) if role not in process.hello.takes]
    name = process.hello.name
    notes = [f"the program calls itself {name}"] if name else []
    absent += [name for name in FORMATS if name not in process.hello.formats]
    return notes + (
        [f"not claimed by the program, not asked: {', '.join(absent)}"] if absent else []
    )


def require_claims(process: Process) -> None:
    """QuestionError where a small call of what it says that it takes is not answered."""
    manner = Manner(process, {role: ARGUMENTS.get(role, "") for role in process.hello.takes})
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
