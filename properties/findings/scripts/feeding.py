"""How a script feeds a sequence in parts to one module that keeps, or hands out, keys and values."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from properties.cases.case import Case
from properties.findings.recording import built
from properties.findings.scripts import text
from properties.findings.scripts.asking import require_right
from properties.findings.scripts.script import Script
from properties.recognition.adapters.module_subject import ModuleSubject
from properties.recognition.asking.caches import CacheManner, State


def begun(case: Case) -> tuple[Script, str]:
    """A script with a module in eval mode and the case's tokens x; the module's name. What it returns is
    taken apart here, where the caller holds the cache that is in it.
    """
    held = isinstance(case.subject, ModuleSubject) and case.subject.remembering.held_by_caller
    script = Script(case.subject, alone=not held)
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
    *,
    recording: bool = False,
) -> None:
    """Feed x in chunks of these lengths from its first token on; its outputs, joined, are `output`.

    further: what each step is told besides, of its start and end; recording: whether the steps are
    recorded for gradients.
    """
    lines = [*beginning(module, manner), "parts = []"]
    for end, length in zip(accumulate(lengths), lengths, strict=True):
        start = end - length
        told = [f"{x}[:, {start}:{end}]", *arguments(manner, start, end)]
        told += [further.format(start=start, end=end)] if further else []
        call = f"{module}({', '.join(told)})"
        if manner.held_by_caller:
            lines += [f"returned = {call}", f"past = returned[{manner.place}]"]
            call = "returned[0]"
        lines.append(f"parts.append({call})")
    tried(script, [*lines, "output = torch.cat(parts, dim=1)"], recording=recording)


def beginning(module: str, manner: CacheManner) -> list[str]:
    """What goes before the first token."""
    reset = [f"{module}.{manner.reset}()"] if manner.reset else []
    return reset + [f"past = {'None' if manner.place else '{}'}"] * bool(manner.past)


def arguments(manner: CacheManner, start: int, end: int) -> list[str]:
    """What a step is told besides its tokens, as it would be typed."""
    typed = {
        manner.past: "past",
        manner.position: f"torch.arange({start}, {end})" if manner.ranged else str(start),
    }
    values = manner.told(State(start), end - start)
    return [f"{name}={typed.get(name, values[name])}" for name in values]


def tried(script: Script, statements: Sequence[str], *, recording: bool = False) -> None:
    """Statements that must not raise, recorded for gradients or not."""
    inner = [f"    {statement}" for statement in statements]
    script.add(
        "try:",
        *(inner if recording else ["    with torch.no_grad():", *(f"    {one}" for one in inner)]),
        "except Exception as error:",
        "    raise AssertionError(f'expected an output, got {error!r}') from error",
    )
