"""Scripts about what a module has besides attention: bounds, windows, slopes, sinks, norms."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from properties.cases.case import Case
from properties.cases.steps import splits
from properties.findings.recording import Tape, built
from properties.findings.scripts.asking import run
from properties.findings.scripts.cache import written
from properties.findings.scripts.feeding import begun, ended, feed, tried
from properties.findings.scripts.recipes import recipe
from properties.findings.scripts.script import Script
from properties.recognition.adapters.module_subject import ModuleSubject
from properties.spec.clauses import restored


def at_work(clause: str, put_back: Callable[[Case], Case]) -> None:
    """Register a recipe: one call with it at work, and a sequence in parts where there is a cache."""

    @recipe(clause)
    def scripts(case: Case, tape: Tape) -> Iterator[Script]:
        if not isinstance(case.subject, ModuleSubject) or case.subject.blueprint.handed:
            return
        asked, tokens = put_back(case), case.sizes.tokens
        script, module = begun(asked)
        returned = "[0]" * case.subject.remembering.held_by_caller
        tried(script, [f"output = {module}(x){returned}"])
        yield ended(script, asked)
        if asked.subject.restored.slopes and restored.twice_as_long(case) is not None:
            script, module = begun(asked)
            script.add(f"{module}(torch.cat([x, x], dim=1))")
            tried(script, [f"output = {module}(x){returned}"])
            yield ended(script, asked)
        cached = case.subject.has("cache") and written(case.subject)
        for lengths in ([1] * tokens, *splits(tokens, case.cut)) if cached else ():
            script, module = begun(asked)
            feed(script, module, case.subject.remembering, "x", lengths)
            yield ended(script, asked)


at_work("score/cap-of-the-constructor", restored.with_cap)
at_work("score/sink-of-the-module", restored.with_sinks)
at_work("score/slopes-of-the-module", restored.with_slopes)
at_work("window/window-of-the-constructor", restored.with_window)


@recipe("score/norms-give-one-length")
def lengths(case: Case, tape: Tape) -> Iterator[Script]:
    """What comes out of each norm, which has to be called."""
    if not isinstance(case.subject, ModuleSubject):
        return
    asked = restored.with_norms(case)
    for path in case.subject.blueprint.taken_out:
        script, module = begun(asked)
        script.add("came = []")
        hook = "lambda norm, given, part: came.append(part)"
        script.add(f"{module}.get_submodule({path!r}).register_forward_hook({hook})")
        tried(script, [f"{module}({restored.LOUD:g} * x)"])
        script.add(f"assert came, {f'expected {path} to take part, got no call of it'!r}")
        script.add("for part in came:", "    lengths = part.double().norm(dim=-1)")
        script.add(
            "    assert lengths.max() < 1.01 * lengths.min(), (",
            "        f'expected one length, got {lengths.min():.6g} to {lengths.max():.6g}')",
        )
        yield script


@recipe("score/norms-leave-values-alone")
def values(case: Case, tape: Tape) -> Iterator[Script]:
    """Two modules, one with values twice as large."""
    if not isinstance(case.subject, ModuleSubject):
        return
    plain, twice = restored.values_twice(restored.with_norms(case))
    script, module = begun(plain)
    run(script, module, "x", "once")
    other = script.build(built(twice))
    run(script, other, "x", "output")
    returned = "[0]" * case.subject.remembering.held_by_caller
    script.add(f"expected = 2 * once{returned}.to(torch.float64)")
    script.add(f"near(output{returned}, expected, 0.0)")
    yield script
