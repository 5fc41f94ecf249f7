"""Scripts about a cache: sequences that are fed in parts to one module."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import accumulate

from properties.cases.case import Case
from properties.cases.steps import splits
from properties.findings.recording import Tape, built
from properties.findings.scripts import text
from properties.findings.scripts.asking import require_right
from properties.findings.scripts.recipes import recipe
from properties.findings.scripts.script import Script
from properties.recognition.adapters.torch_module import ModuleSubject
from properties.recognition.asking.caches import CacheManner, State


@recipe(
    "cache/token-by-token-equals-the-whole",
    "cache/any-split-equals-the-whole",
    "cache/second-sequence-is-a-first-one",
    "cache/call-without-it-is-what-it-was",
)
def fed(case: Case, tape: Tape) -> Iterator[Script]:
    """A sequence token by token and in chunks; after another one; and a call without the cache."""
    if not isinstance(case.subject, ModuleSubject) or case.subject.blueprint.handed:
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
    if not isinstance(case.subject, ModuleSubject) or case.subject.blueprint.handed:
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


def feed(script: Script, module: str, manner: CacheManner, x: str, lengths: Sequence[int]) -> None:
    """Feed x in chunks of these lengths from its first token on; its outputs, joined, are `output`."""
    lines = [f"{module}.{manner.reset}()"] if manner.reset else []
    lines += ["parts = []"]
    if manner.past:
        lines.append(f"past = {'None' if manner.place else '{}'}")
    for end, length in zip(accumulate(lengths), lengths, strict=True):
        start = end - length
        told = [f"{x}[:, {start}:{end}]", *arguments(manner, start, end)]
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
