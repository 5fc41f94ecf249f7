"""Scripts about a cache: sequences that are fed in parts to one module."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import TypeGuard

from properties.cases.case import Case
from properties.cases.question import question
from properties.cases.steps import splits
from properties.findings.recording import Tape, built
from properties.findings.scripts import text
from properties.findings.scripts.asking import require_right
from properties.findings.scripts.recipes import recipe
from properties.findings.scripts.script import Script
from properties.recognition.adapters.module_subject import ModuleSubject
from properties.recognition.asking.caches import CacheManner, State
from properties.subjects.call import Arguments
from properties.subjects.subject import Subject


def written(subject: Subject) -> TypeGuard[ModuleSubject]:
    """Whether the class alone can be fed: neither angles nor a cache of a class of its own are needed."""
    if not isinstance(subject, ModuleSubject) or subject.blueprint.handed:
        return False
    return subject.remembering.holder is None


@recipe(
    "cache/token-by-token-equals-the-whole",
    "cache/any-split-equals-the-whole",
    "cache/second-sequence-is-a-first-one",
    "cache/call-without-it-is-what-it-was",
)
def fed(case: Case, tape: Tape) -> Iterator[Script]:
    """A sequence token by token and in chunks; after another one; and a call without the cache."""
    if not written(case.subject):
        return  # angles that the caller has to make for each step are not the class alone
    manner, tokens = case.subject.remembering, case.sizes.tokens
    for lengths in ([1] * tokens, *splits(tokens, case.cut)):
        script, module = begun(case)
        feed(script, module, manner, "x", lengths)
        yield ended(script, case)
    for lengths in ([tokens], [1] * tokens):
        script, module = begun(case)
        script.add(f"other = {text.typed(case.other, case.dtype)}")
        feed(script, module, manner, "other", [1] * tokens)
        feed(script, module, manner, "x", lengths)
        yield ended(script, case)
    script, module = begun(case)
    script.add(f"other = {text.typed(case.other, case.dtype)}")
    feed(script, module, manner, "other", [1])
    called = f"{module}(x)" + "[0]" * manner.held_by_caller
    tried(script, [f"output = {called}"])
    yield ended(script, case)


@recipe("cache/past-of-the-caller-stays")
def forked(case: Case, tape: Tape) -> Iterator[Script]:
    """Two continuations of one past, the second of which is to be right; then the other way round."""
    if not written(case.subject):
        return
    manner, tokens = case.subject.remembering, case.sizes.tokens
    head = min(case.cut + 1, tokens - 1)
    other = case.x.copy()
    other[:, head:] = case.other[:, head:]
    for first, then in ((other, case), (case.x, replace(case, x=other))):
        script, module = begun(then)
        script.add(f"other = {text.typed(first, case.dtype)}")
        late = ", ".join(arguments(manner, head, tokens))
        tried(
            script,
            [
                *([f"{module}.{manner.reset}()"] if manner.reset else []),
                "past = None",
                f"returned = {module}(x[:, :{head}], {', '.join(arguments(manner, 0, head))})",
                f"past = returned[{manner.place}]",
                f"{module}(other[:, {head}:], {late})",
                f"again = {module}(x[:, {head}:], {late})",
                "output = torch.cat([returned[0], again[0]], dim=1)",
            ],
        )
        yield ended(script, then)


@recipe("cache/padding-stays-hidden")
def padded(case: Case, tape: Tape) -> Iterator[Script]:
    """A padded sequence token by token and in chunks."""
    subject, tokens = case.subject, case.sizes.tokens
    if not written(subject):
        return
    asked = question(case, "padding")
    argument, real = subject.takes["padding"], asked.arguments.padding
    told = subject.held.handed({"x": case.x}, Arguments(padding=real), case.dtype)[1][argument]
    for lengths in ([1] * tokens, *splits(tokens, case.cut)):
        script, module = begun(case)
        script.add(f"{argument} = {text.given(told)}")
        of_step = "[..., :{end}]" if subject.padded_whole else "[..., {start}:{end}]"
        feed(script, module, subject.remembering, "x", lengths, f"{argument}={argument}{of_step}")
        expected, allowed = asked.truth.output, asked.truth.allowed
        script.add(f"expected = {text.tensor(expected)}", f"allowed = {text.slack(allowed)}")
        script.add("near(output, expected, allowed)")
        yield script


@recipe("cache/refusing-loses-nothing")
def refused(case: Case, tape: Tape) -> Iterator[Script]:
    """All tokens but the last, more than fit, which is to be refused, and the last one."""
    if not written(case.subject):
        return
    manner, tokens = case.subject.remembering, case.sizes.tokens
    room = case.config().sizes.context_length
    if tokens < 2:
        return
    script, module = begun(case)
    more = room - tokens + 2
    script.add(f"other = {text.typed(case.other[:, :1], case.dtype)}")
    first = [f"x[:, :{tokens - 1}]", *arguments(manner, 0, tokens - 1)]
    beyond = [f"other.repeat(1, {more}, 1)", *arguments(manner, tokens - 1, tokens - 1 + more)]
    last = [f"x[:, {tokens - 1}:]", *arguments(manner, tokens - 1, tokens)]
    returned = "[0]" if manner.held_by_caller else ""
    tried(
        script,
        [
            *([f"{module}.{manner.reset}()"] if manner.reset else []),
            *([f"past = {'None' if manner.place else '{}'}"] if manner.past else []),
            f"returned = {module}({', '.join(first)})",
            *([f"past = returned[{manner.place}]"] if manner.held_by_caller else []),
            f"first = returned{returned}",
        ],
    )
    script.add(
        "try:",
        "    with torch.no_grad():",
        f"        {module}({', '.join(beyond)})",
        "except Exception as error:",
        '    print(f"refused: {error!r}")',
    )
    tried(
        script,
        [f"last = {module}({', '.join(last)}){returned}", "output = torch.cat([first, last], 1)"],
    )
    yield ended(script, case)


def begun(case: Case) -> tuple[Script, str]:
    """A script with a module in eval mode and the case's tokens x; the module's name."""
    script = Script(case.subject)
    module = script.build(built(case))
    script.add(f"x = {text.typed(case.x, case.dtype)}", f"{module}.eval()")
    return script, module


def ended(script: Script, case: Case) -> Script:
    """With what the output should be."""
    require_right(script, case, "output")
    return script


def feed(
    script: Script,
    module: str,
    manner: CacheManner,
    x: str,
    lengths: Sequence[int],
    further: str = "",
) -> None:
    """Feed x in chunks of these lengths from its first token on; its outputs, joined, are `output`.

    further: what each step is told besides, of its start and end.
    """
    lines = [f"{module}.{manner.reset}()"] if manner.reset else []
    lines += ["parts = []"]
    if manner.past:
        lines.append(f"past = {'None' if manner.place else '{}'}")
    for end, length in zip(accumulate(lengths), lengths, strict=True):
        start = end - length
        told = [f"{x}[:, {start}:{end}]", *arguments(manner, start, end)]
        told += [further.format(start=start, end=end)] if further else []
        call = f"{module}({', '.join(told)})"
        if manner.held_by_caller:
            lines += [f"returned = {call}", f"past = returned[{manner.place}]"]
            call = "returned[0]"
        lines.append(f"parts.append({call})")
    tried(script, [*lines, "output = torch.cat(parts, dim=1)"])


def arguments(manner: CacheManner, start: int, end: int) -> list[str]:
    """What a step is told besides its tokens, as it would be typed."""
    typed = {
        manner.past: "past",
        manner.position: f"torch.arange({start}, {end})" if manner.ranged else str(start),
    }
    values = manner.told(State(start), end - start)
    return [f"{name}={typed.get(name, values[name])}" for name in values]


def tried(script: Script, statements: Sequence[str]) -> None:
    """Statements that must not raise, without gradients."""
    script.add(
        "try:",
        "    with torch.no_grad():",
        *(f"        {statement}" for statement in statements),
        "except Exception as error:",
        "    raise AssertionError(f'expected an output, got {error!r}') from error",
    )
