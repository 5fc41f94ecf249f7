"""Scripts about a context whose keys and values are kept: calls to one module, a part of x in each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import TypeGuard

from torch import Tensor

from properties.cases.case import Case
from properties.cases.question import Question, crossed, taken
from properties.findings.recording import Tape
from properties.findings.scripts import text
from properties.findings.scripts.feeding import arguments, beginning, begun, tried
from properties.findings.scripts.recipes import recipe
from properties.findings.scripts.script import Script
from properties.recognition.adapters.module_subject import ModuleSubject
from properties.spec.clauses.cache_contexts import ANOTHER, KEPT, MASKED, MASKS, in_parts
from properties.subjects.subject import Subject

ALONE = "returned[0] if isinstance(returned, tuple) else returned"


def typed(subject: Subject) -> TypeGuard[ModuleSubject]:
    """Whether the class alone can be called: no cache of a class of its own is needed."""
    return isinstance(subject, ModuleSubject) and subject.keeping.holder is None


@recipe(KEPT, MASKED)
def kept(case: Case, tape: Tape) -> Iterator[Script]:
    """X one by one and in chunks, with every mask of the context."""
    subject = case.subject
    if not typed(subject):
        return
    asked = [crossed(case, role.removeprefix("context_")) for role in taken(case, *MASKS)]
    for one in (crossed(case), *asked):
        for later in subject.later:
            for lengths in in_parts(case.sizes.tokens, case.cut):
                script, module = begun(one.asked_of)
                told = handed(script, subject, one)
                feed(script, subject, module, told, lengths, later)
                yield ended(script, one)


@recipe(ANOTHER)
def another(case: Case, tape: Tape) -> Iterator[Script]:
    """A context after another one that was kept, without the cache and with a new one."""
    subject = case.subject
    if not typed(subject):
        return
    asked, lengths = crossed(case), [1] * case.sizes.tokens
    context = subject.takes["context"]
    other = text.typed(asked.exchanged(range(asked.shape[3])).inputs["context"], case.dtype)
    for again in (False, True):
        script, module = begun(asked.asked_of)
        told = handed(script, subject, asked)
        script.lines.append(f"other = {other}")
        before = {**told, context: "other"}
        feed(script, subject, module, before, lengths, subject.later[0])
        if again:
            feed(script, subject, module, told, lengths, subject.later[0])
        else:
            given = ", ".join(f"{name}={source}" for name, source in told.items())
            tried(script, [f"returned = {module}(x, {given})", f"output = {ALONE}"])
        yield ended(script, asked)


def handed(script: Script, subject: ModuleSubject, asked: Question) -> dict[str, str]:
    """Each argument besides x, and what stands for it in a call with the tokens from start to end; tensors
    are written by their own names.
    """
    given = subject.held.given(None, asked.inputs, asked.arguments, asked.case.dtype)
    of_pairs = {"context_mask": asked.arguments.mask, "context_bias": asked.arguments.bias}
    pairs = {subject.takes[role] for role, array in of_pairs.items() if array is not None}
    told = {}
    for name, value in given.items():
        if name == "x":
            continue
        told[name] = repr(value)
        if isinstance(value, Tensor):
            script.lines.append(f"{name} = {text.given(value)}")
            told[name] = name + "[..., {start}:{end}, :]" * (name in pairs)
    return told


def feed(
    script: Script,
    subject: ModuleSubject,
    module: str,
    told: Mapping[str, str],
    lengths: Sequence[int],
    later: str,
) -> None:
    """Feed x in chunks of these lengths; its outputs, joined, are `output`."""
    manner, context = subject.keeping, subject.takes["context"]
    lines = [*beginning(module, manner), "parts = []"]
    for end, length in zip(accumulate(lengths), lengths, strict=True):
        start = end - length
        given = {name: source.format(start=start, end=end) for name, source in told.items()}
        if start and later == "none":
            given[context] = "None"
        named = [f"{name}={source}" for name, source in given.items()]
        call = ", ".join([f"x[:, {start}:{end}]", *named, *arguments(manner, start, end)])
        lines.append(f"returned = {module}({call})")
        lines += [f"past = returned[{manner.place}]"] * manner.held_by_caller
        lines.append(f"parts.append({ALONE})")
    tried(script, [*lines, "output = torch.cat(parts, dim=1)"])


def ended(script: Script, asked: Question) -> Script:
    """With what the output should be."""
    expected, allowed = asked.truth.output, asked.truth.allowed
    script.add(f"expected = {text.tensor(expected)}", f"allowed = {text.slack(allowed)}")
    script.add("near(output, expected, allowed)")
    return script
