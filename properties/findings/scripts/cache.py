"""Scripts about a cache: sequences that are fed in parts to one module."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import accumulate
from typing import TypeGuard

from properties.cases.budgets import difference
from properties.cases.case import Case
from properties.cases.question import question
from properties.cases.steps import splits
from properties.findings.recording import Tape, built
from properties.findings.scripts import text
from properties.findings.scripts.asking import refusal
from properties.findings.scripts.feeding import arguments, beginning, begun, ended, feed, tried
from properties.findings.scripts.recipes import recipe
from properties.findings.scripts.script import Script
from properties.recognition.adapters.module_subject import ModuleSubject
from properties.recognition.asking.beside_a_cache import laid_out
from properties.spec.clauses.cache import filled_up
from properties.spec.clauses.cache_masks import of_pairs
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
                *beginning(module, manner),
                f"returned = {module}(x[:, :{head}], {', '.join(arguments(manner, 0, head))})",
                f"past = returned[{manner.place}]",
                f"{module}(other[:, {head}:], {late})",
                f"again = {module}(x[:, {head}:], {late})",
                "output = torch.cat([returned[0], again[0]], dim=1)",
            ],
        )
        yield ended(script, then)


@recipe("cache/second-batch-may-be-of-another-size")
def of_another_size(case: Case, tape: Tape) -> Iterator[Script]:
    """A sequence of one item, then one of all; and the other way round."""
    if not written(case.subject):
        return
    manner, lengths = case.subject.remembering, [1] * case.sizes.tokens
    for first, then, second in (
        ("other[:1]", "x", case),
        ("other", "x[:1]", case.take(batch=[0])),
    ):
        script, module = begun(case)
        script.add(
            f"other = {text.typed(case.other, case.dtype)}", f"first, second = {first}, {then}"
        )
        feed(script, module, manner, "first", lengths)
        feed(script, module, manner, "second", lengths)
        yield ended(script, second)


@recipe("cache/items-keep-their-own")
def of_a_neighbour(case: Case, tape: Tape) -> Iterator[Script]:
    """The last token twice, each time on a module of its own, with another past in item 0."""
    tokens = case.sizes.tokens
    if not written(case.subject) or case.sizes.batch < 2 or tokens < 2:
        return
    manner, lengths = case.subject.remembering, [tokens - 1, 1]
    script, module = begun(case)
    feed(script, module, manner, "x", lengths)
    script.add("kept, changed = output, x.clone()")
    script.lines.append(f"changed[0, :-1] = {text.typed(case.other[0, :-1], case.dtype)}")
    another = script.build(built(case))
    script.lines.append(f"{another}.eval()")
    feed(script, another, manner, "changed", lengths)
    script.add(f"allowed = {text.slack(difference(case)[1:, -1:])}")
    script.lines.append("near(output[1:, -1:], kept[1:, -1:].to(torch.float64), allowed)")
    yield script


@recipe("cache/recording-gradients-changes-nothing")
def recorded(case: Case, tape: Tape) -> Iterator[Script]:
    """Token by token, recorded for gradients."""
    if not written(case.subject):
        return
    script, module = begun(case)
    manner, lengths = case.subject.remembering, [1] * case.sizes.tokens
    feed(script, module, manner, "x", lengths, recording=True)
    yield ended(script, case)


@recipe("cache/gradients-without-it-are-what-they-were")
def differentiated_after(case: Case, tape: Tape) -> Iterator[Script]:
    """The gradient of a call without the cache, after a sequence."""
    if not written(case.subject):
        return
    manner = case.subject.remembering
    script, module = begun(case)
    script.add(f"other = {text.typed(case.other, case.dtype)}")
    feed(script, module, manner, "other", [1] * case.sizes.tokens)
    script.lines += [f"{module}.{manner.reset}()"] * bool(manner.reset)
    script.add(f"upstream = {text.tensor(case.upstream)}.to(x.dtype)")
    whole = f"{module}(x.requires_grad_())" + "[0]" * manner.held_by_caller
    tried(script, [f"{whole}.backward(upstream)"], recording=True)
    expected, allowed = case.gradients.x, case.gradient_budget.x
    script.add(f"expected = {text.tensor(expected)}", f"allowed = {text.slack(allowed)}")
    script.lines.append("near(x.grad, expected, allowed)")
    yield script


@recipe("cache/too-long-is-refused")
def one_too_many(case: Case, tape: Tape) -> Iterator[Script]:
    """As many tokens as fit, and then one that is to be refused."""
    if not written(case.subject):
        return
    manner, full = case.subject.remembering, filled_up(case)
    room = full.shape[1]
    script, module = begun(case)
    script.add(f"whole = {text.typed(full, case.dtype)}")
    script.lines.append(f"other = {text.typed(case.other[:, :1], case.dtype)}")
    feed(script, module, manner, "whole", [room])
    beyond = ", ".join(("other", *arguments(manner, room, room + 1)))
    refusal(
        script,
        ["with torch.no_grad():", f"    {module}({beyond})"],
        f"expected token {room + 1} refused where context_length is {room}, got an output",
    )
    yield script


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


ROWS = {
    "T S": "[..., {start}:{end}, :{end}]",
    "T room": "[..., {start}:{end}, :]",
    "S S": "[..., :{end}, :{end}]",
}
"""What a step takes of a mask of all pairs, by its layout."""


@recipe("cache/mask-of-pairs-goes-on")
def masked(case: Case, tape: Tape) -> Iterator[Script]:
    """A sequence under a mask of pairs, token by token and in chunks."""
    subject, tokens = case.subject, case.sizes.tokens
    if not written(subject):
        return
    room = case.config().sizes.context_length
    for role in subject.masked_steps:
        asked = of_pairs(case, role)
        laid = laid_out(asked.arguments, subject.laid, room)
        [(argument, told)] = subject.told_beside(laid, case.dtype).items()
        for lengths in ([1] * tokens, *splits(tokens, case.cut)):
            script, module = begun(case)
            script.add(f"{argument} = {text.given(told)}")
            further = f"{argument}={argument}{ROWS[subject.laid]}"
            feed(script, module, subject.remembering, "x", lengths, further)
            expected, allowed = asked.truth.output, asked.truth.allowed
            script.add(f"expected = {text.tensor(expected)}", f"allowed = {text.slack(allowed)}")
            script.add("near(output, expected, allowed)")
            yield script


@recipe("cache/layers-keep-their-own")
def layered(case: Case, tape: Tape) -> Iterator[Script]:
    """Two layers and one cache, fed by turns; then what either of them gave."""
    subject, tokens = case.subject, case.sizes.tokens
    if not written(subject):
        return
    for n, one in enumerate((case, replace(case, x=case.other)) if case.causal else ()):
        for lengths in ([1] * tokens, *splits(tokens, case.cut)):
            script, first = begun(case)
            script.add(f"other = {text.typed(case.other, case.dtype)}")
            second = script.build(built(case, layer=1))
            script.lines.append(f"{second}.eval()")
            lines = [*beginning(first, subject.remembering), "parts = [], []"]
            for end, length in zip(accumulate(lengths), lengths, strict=True):
                told = arguments(subject.remembering, end - length, end)
                for layer, (module, x) in enumerate(((first, "x"), (second, "other"))):
                    further = [f"{subject.layer}={layer}"] * bool(subject.layer)
                    given = ", ".join([f"{x}[:, {end - length}:{end}]", *told, *further])
                    lines.append(f"parts[{layer}].append({module}({given}))")
            tried(script, [*lines, f"output = torch.cat(parts[{n}], dim=1)"])
            yield ended(script, one)


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
            *beginning(module, manner),
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
