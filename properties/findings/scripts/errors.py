"""Scripts about what is to be refused, and about counts that a constructor is to keep."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch

from properties.cases.case import Case, parameters
from properties.findings.recording import Call, Tape, built
from properties.findings.scripts import text
from properties.findings.scripts.asking import refusal
from properties.findings.scripts.outputs import Answer
from properties.findings.scripts.recipes import recipe
from properties.findings.scripts.script import Script, construct
from properties.spec.clauses import indivisible_groups
from properties.spec.clauses.error import OUTSIDE, beyond, indivisible, of_width, refusals
from properties.spec.clauses.shape import GPT2
from properties.subjects.subject import JOINED_FAMILIES, Config


@recipe("error/wrong-d_in", "error/too-many-tokens-raise")
def must_raise(case: Case, tape: Tape) -> Iterator[Script]:
    """An input that is no valid one was answered."""
    for call in tape.calls:
        sizes, (*_, tokens, columns) = call.build.config.sizes, call.x.shape
        if call.error is None and (columns != sizes.d_in or tokens > sizes.context_length):
            script = Script(case.subject)
            module = script.build(call.build)
            x = script.input(call, "x")
            refusal(
                script,
                [f"{module}.eval()", f"{module}({x})"],
                f"expected an input of shape {call.x.shape} refused where d_in is {sizes.d_in} and "
                f"context_length {sizes.context_length}, got an output",
            )
            yield script


@recipe("error/too-many-tokens", "error/context-of-one-token", "error/wrong-rank")
def raise_or_be_right(case: Case, tape: Tape) -> Iterator[Script]:
    """An input that may be refused, or answered as one module made for it would."""
    for call in tape.calls:
        if call.error is not None or not unpromised(call):
            continue
        script = Script(case.subject)
        module = script.build(call.build)
        x = script.input(call, "x")
        if call.x.ndim == 1:
            refusal(script, [f"{module}.eval()", f"{module}({x})"], "expected one axis refused")
            yield script
            continue
        config = call.build.config
        rows = call.x.reshape(-1, *call.x.shape[-2:])
        sizes = replace(
            config.sizes, context_length=max(config.sizes.context_length, rows.shape[1])
        )
        build = replace(call.build, config=replace(config, sizes=sizes))
        found = Answer(replace(call, build=build), rows)
        if not found.case.known:
            continue
        expected, allowed = found.expected, 2.0 * found.allowed
        script.add(
            f"{module}.eval()",
            "output = None",
            "with torch.no_grad(), suppress(Exception):",
            f"    output = {module}({x})",
            f"expected = {text.tensor(expected)}",
            f"allowed = {text.slack(allowed)}",
            "if output is not None:  # refused would be right, too",
            "    assert output.numel() == expected.numel(), f'expected {tuple(expected.shape)}, "
            "got {tuple(output.shape)}'",
            "    near(output.reshape(expected.shape), expected, allowed)",
        )
        yield script


def unpromised(call: Call) -> bool:
    """Whether the input is one that need not be taken."""
    subject, sizes, axes = call.build.subject, call.build.config.sizes, call.x.ndim
    longer = axes > 1 and call.x.shape[-2] > sizes.context_length
    taken = (axes == 3 and subject.has("batched")) or (axes == 2 and subject.has("unbatched"))
    return not taken or (longer and subject.has("context-length"))


@recipe("error/indivisible-heads")
def indivisible_heads(case: Case, tape: Tape) -> Iterator[Script]:
    """The constructor is asked for a width that the heads do not divide."""
    script, config = Script(case.subject), indivisible(case)
    what = f"expected d_out {config.width} refused with {config.sizes.heads} heads, got a module"
    refusal(script, construct(case.subject, config), what)
    yield script


@recipe("error/indivisible-heads-lose-nothing")
def columns_left_out(case: Case, tape: Tape) -> Iterator[Script]:
    """A module of a width that the heads do not divide puts out fewer columns."""
    script, config = Script(case.subject), indivisible(case)
    wanted = f"expected d_out {config.width} refused, or {config.width} columns"
    script.add(
        "output = None",
        "with torch.no_grad(), suppress(Exception):",
        *(f"    {line}" for line in construct(case.subject, config)),
        f"    output = module({text.typed(of_width(case, config.sizes.d_in), case.dtype)})",
        "if output is not None:  # refused would be right, too",
        f"    got = f'{wanted}, got {{output.shape[-1]}}'",
        f"    assert output.shape[-1] == {config.width}, got",
    )
    yield script


@recipe("error/indivisible-key-value-heads")
def indivisible_key_value_heads(case: Case, tape: Tape) -> Iterator[Script]:
    """A module whose heads of keys and values do not divide its heads gives an output."""
    sizes = indivisible_groups.indivisible(case)
    script, config = Script(case.subject), replace(case.config(), sizes=sizes)
    x = text.typed(of_width(case, sizes.d_in), case.dtype)
    refusal(
        script,
        [*construct(case.subject, config), f"module.eval()({x})"],
        f"expected {sizes.heads} heads refused with {sizes.key_heads} heads of keys and values, "
        "got an output",
    )
    yield script


@recipe("error/dropout-out-of-range-at-construction")
def dropout_at_construction(case: Case, tape: Tape) -> Iterator[Script]:
    """The constructor is asked for what is no probability."""
    for probability in OUTSIDE[:2]:
        script = Script(case.subject)
        what = f"expected dropout {probability} refused at construction, got a module"
        refusal(script, construct(case.subject, case.config(dropout=probability)), what)
        yield script


@recipe("error/dropout-out-of-range")
def dropout_out_of_range(case: Case, tape: Tape) -> Iterator[Script]:
    """A training call at what is no probability."""
    for call in tape.calls:
        probability = call.build.config.dropout
        if call.error is not None or not call.training:
            continue
        script = Script(case.subject)
        lines = construct(case.subject, call.build.config, "module")
        fill = script.fill(call.build, "module")
        x = script.input(call, "x")
        calling = [
            "module.train()",
            f"torch.manual_seed({call.seed or 0})",
            f"output = module({x})",
        ]
        if probability > 1.0:
            what = f"expected dropout {probability} refused, got an output"
            refusal(script, [*lines, *fill, *calling], what)
            yield script
        elif case.known:
            found = Answer(call, call.x if call.x.ndim == 3 else call.x[None])
            script.add(
                "output = None",
                "with suppress(Exception):",
                *(f"    {line}" for line in (*lines, *fill, *calling)),
                f"expected = {text.tensor(found.expected.reshape(found.shape))}",
                f"allowed = {text.slack(2.0 * found.allowed.reshape(found.shape))}",
                "if output is not None:  # refused would be right, too",
                "    near(output, expected, allowed)",
            )
            yield script


@recipe("error/messages-name-the-numbers")
def messages(case: Case, tape: Tape) -> Iterator[Script]:
    """What is refused says which number was wrong."""
    asked = list(refused_statements(case))
    said = list(refusals(case))
    for (script, statements), (_, wanted) in zip(asked, said, strict=True):
        script.add(
            "try:",
            *(f"    {statement}" for statement in statements),
            "except Exception as error:",
            "    said = str(error)",
            r"    named = re.findall(r'\d+(?:\.\d+)?', said)",
            f"    for either in {wanted!r}:",
            "        there = set(either) & set(named)",
            "        assert there, f'expected an error that names {either}, got {said!r}'",
        )
        yield script


def refused_statements(case: Case) -> Iterator[tuple[Script, list[str]]]:
    """The same requests as in `refusals`, in the same order."""
    inputs = [case.x[0, 0]]
    if case.subject.family != "plain":
        inputs.append(of_width(case, case.sizes.d_in + 1))
    if case.subject.has("context-length"):
        inputs.append(next(beyond(case, case.sizes.context_length)).x)
    for x in inputs:
        script = Script(case.subject)
        module = script.build(built(case))
        script.add(f"x = {text.typed(x, case.dtype)}")
        yield script, [f"{module}.eval()", f"{module}(x)"]
    if case.subject.family in JOINED_FAMILIES:
        yield Script(case.subject), construct(case.subject, indivisible(case))
    if case.subject.has("dropout"):
        yield Script(case.subject), construct(case.subject, case.config(dropout=1.5))


@recipe("shape/parameter-shapes-and-count")
def parameter_count(case: Case, tape: Tape) -> Iterator[Script]:
    """The parameters are counted."""
    expected = sum(array.size for array in parameters(case.weights).values())
    yield counted(case, case.config(), expected)


@recipe("shape/gpt-2-size")
def gpt_2_size(case: Case, tape: Tape) -> Iterator[Script]:
    """The parameters are counted at GPT-2's size."""
    yield counted(case, Config(GPT2, dtype="float32"), 2_360_064)


def counted(case: Case, config: Config, expected: int) -> Script:
    """A module, and how many numbers its parameters hold."""
    script = Script(case.subject)
    script.add(
        *construct(case.subject, config),
        "count = sum(parameter.numel() for parameter in module.parameters())",
        "shapes = {name: tuple(p.shape) for name, p in module.named_parameters()}",
        f"assert count == {expected}, f'expected {expected} parameters, got {{count}}: {{shapes}}'",
    )
    return script


@recipe("shape/dtype-preserved", "shape/half-precision-runs")
def dtype_preserved(case: Case, tape: Tape) -> Iterator[Script]:
    """The dtype of an output is not that of its input."""
    for call in tape.calls:
        dtype, output = call.build.config.dtype, call.output
        if isinstance(output, torch.Tensor) and output.dtype != getattr(torch, dtype):
            before = tape.events[: tape.events.index(call)]
            for events in ([], before):
                script = Script(case.subject)
                for event in events:
                    if isinstance(event, Call):
                        script.call(event, attempt=event.error is not None)
                name = script.call(call)
                wanted = f"expected an output in {dtype} for an input in {dtype}"
                got = f"got {{{name}.dtype}}"
                script.add(f"assert {name}.dtype == torch.{dtype}, f'{wanted}, {got}'")
                yield script


@recipe("argument/qkv-bias-has-effect")
def qkv_bias(case: Case, tape: Tape) -> Iterator[Script]:
    """With biases there are more parameters than without; if there are, their effect is looked at."""
    with_bias, without = (replace(case.config(), bias=bias) for bias in (True, False))
    counts = {
        sum(parameter.numel() for parameter in case.subject.build(config, None).parameters())
        for config in (with_bias, without)
    }
    if len(counts) == 2:
        return
    script = Script(case.subject)
    script.add(
        *construct(case.subject, with_bias, "biased"),
        *construct(case.subject, without, "unbiased"),
        "more, fewer = (sum(p.numel() for p in m.parameters()) for m in (biased, unbiased))",
        "assert more > fewer, f'expected more parameters with biases than {fewer}, got {more}'",
    )
    yield script
