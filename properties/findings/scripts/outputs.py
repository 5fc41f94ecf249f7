"""What a single call, or two calls, show to be wrong: refusal, shape, numbers, dependence."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np
import torch

from properties.basics.dtypes import FORMATS, Array
from properties.cases.case import Case
from properties.findings.recording import Build, Call, Tape
from properties.findings.scripts import text
from properties.findings.scripts.script import Script, merged, mode
from properties.spec.clause import Clause
from properties.subjects.instance import to_array

EXACT = frozenset({"numerics/deterministic-in-eval"})  # the same call gives the same bits


@dataclass
class Finding:
    """What is wrong with some calls, and how a script says so, given the names of their outputs.

    Without an assertion, that the last call raises is wrong.
    """

    calls: list[Call]
    assertion: Callable[[list[str]], list[str]] | None = None


@dataclass(frozen=True, eq=False)
class Answer:
    """A call in eval mode, or in training without dropout, on an input that is to be answered."""

    call: Call
    x: Array  # (B, T, d_in), whatever axes the call had

    @cached_property
    def case(self) -> Case:
        """The case that the call is the run of."""
        build, config = self.call.build, self.call.build.config
        batch, tokens, _ = self.x.shape
        return Case(
            build.subject,
            replace(config.sizes, batch=batch, tokens=tokens),
            config.dtype,
            self.x,
            self.x,
            build.weights,
            config.bias,
            config.dropout,
            0,
            config.seed,
        )

    @property
    def shape(self) -> tuple[int, ...]:
        """What the output's is to be."""
        return (*self.call.x.shape[:-1], self.call.build.config.sizes.width)

    @cached_property
    def finite(self) -> bool:
        """Whether no number of the input is NaN or infinite."""
        return bool(np.isfinite(self.x).all())

    @property
    def deterministic(self) -> bool:
        """Whether the output is one and the same in every run."""
        return not self.call.training or self.call.build.config.dropout == 0.0

    @cached_property
    def output(self) -> Array | None:
        """(B, T, W) if it has the right shape."""
        output = self.call.output
        if not isinstance(output, torch.Tensor) or tuple(output.shape) != self.shape:
            return None
        return to_array(output).reshape(*self.x.shape[:2], -1)

    @cached_property
    def expected(self) -> Array:
        """(B, T, W), what the formula says."""
        return self.case.trace.output

    @cached_property
    def allowed(self) -> Array:
        """How far a right output may be off."""
        allowed = self.case.budget.output
        return np.where(np.isnan(allowed), np.inf, allowed)


def answer(call: Call) -> Answer | None:
    """The call as one that is to be answered; None if its input may be refused."""
    subject, sizes, x = call.build.subject, call.build.config.sizes, call.x
    wide = subject.family == "plain" or x.shape[-1:] == (sizes.d_in,)
    axes = {3: subject.has("batched"), 2: subject.has("unbatched") or not subject.has("batched")}
    if not wide or not axes.get(x.ndim):
        return None
    if subject.has("context-length") and x.shape[-2] > sizes.context_length:
        return None
    return Answer(call, x if x.ndim == 3 else x[None])


def findings(clause: Clause, tape: Tape) -> Iterator[Finding]:
    """What is wrong with the calls of a tape, the most telling first."""
    answers = [found for call in tape.calls if (found := answer(call)) is not None]
    for found in answers:
        if found.call.error is not None:
            yield Finding([found.call])
        elif found.output is None:
            yield Finding([found.call], partial(wrong_shape, found.shape))
    steady = [found for found in answers if found.deterministic and found.output is not None]
    by_formula, by_relation = list(wrong_numbers(steady)), wrong_relations(clause, steady)
    if clause.area in ("causality", "symmetry", "state", "shape", "numerics"):
        yield from by_relation
        yield from by_formula
    else:
        yield from by_formula
        yield from by_relation


def wrong_shape(shape: tuple[int, ...], names: list[str]) -> list[str]:
    """The output is one tensor of the shape that the sizes say."""
    name = names[-1]
    return [
        f"assert isinstance({name}, torch.Tensor), f'expected a tensor, got {{type({name}).__name__}}'",
        f"shape = tuple({name}.shape)",
        f"assert shape == {shape}, f'expected an output of shape {shape}, got {{shape}}'",
    ]


def wrong_numbers(answers: list[Answer]) -> Iterator[Finding]:
    """Outputs that are not what the formula says."""
    for found in answers:
        if not (found.case.known and found.finite) or found.output is None or not found.output.size:
            continue
        if not differ(found.output, found.expected, found.allowed).any():
            continue
        yield numbers(found, found.expected, found.allowed)


def numbers(found: Answer, expected: Array, allowed: Array) -> Finding:
    """The output of a call against numbers of its shape."""

    def assertion(names: list[str]) -> list[str]:
        return [
            f"expected = {text.tensor(expected.reshape(found.shape))}",
            f"allowed = {text.slack(allowed.reshape(found.shape))}",
            f"near({names[0]}, expected, allowed)",
        ]

    return Finding([found.call], assertion)


def differ(output: Array, expected: Array, allowed: Array | float) -> Array:
    """Where an output is further off than allowed."""
    with np.errstate(all="ignore"):
        same = (output == expected) | (np.isnan(output) & np.isnan(expected))
        return np.asarray(~same & ~(np.abs(output - expected) <= allowed) & np.isfinite(allowed))


@dataclass(frozen=True, eq=False)
class Row:
    """One token's output, in one call."""

    answer: Answer
    item: int
    token: int

    @property
    def numbers(self) -> Array:
        """(W,)."""
        output = self.answer.output
        assert output is not None
        return np.asarray(output[self.item, self.token])

    def name(self, output: str) -> str:
        """The row in the script."""
        index = (self.item, self.token) if self.answer.call.x.ndim == 3 else (self.token,)
        return f"{output}[{', '.join(map(str, index))}]"


def wrong_relations(clause: Clause, answers: list[Answer]) -> Iterator[Finding]:
    """Two rows that see the same and are not the same.

    What a row of an output may depend on is the module's weights, its own token and the tokens
    that it sees: those before it in the causal families, all in any order in the others.
    """
    seen: dict[bytes, list[Row]] = {}
    for found in answers:
        for item, token in np.ndindex(*found.x.shape[:2]):
            row = Row(found, item, token)
            if found.case.causal and not np.isfinite(found.x[item, : token + 1]).all():
                continue
            rows = seen.setdefault(key(row), [])
            for first in rows:
                allowed = 0.0 if clause.id in EXACT else apart(row if found.finite else first)
                if differ(row.numbers, first.numbers, allowed).any():
                    pair = (first, row) if np.isfinite(first.numbers).all() else (row, first)
                    yield same_rows(*pair, allowed)
            if len(rows) < 2:
                rows.append(row)


def apart(row: Row) -> Array:
    """How far two right rows may be apart."""
    if row.answer.case.known:
        return np.asarray(2.0 * row.answer.allowed[row.item, row.token])
    unit, output = FORMATS[row.answer.case.dtype].unit_roundoff, row.answer.output
    assert output is not None
    return np.full(row.numbers.shape, np.sqrt(unit) * np.abs(output).max(initial=0.0))


def key(row: Row) -> bytes:
    """Everything that a row may depend on."""
    build, x = row.answer.call.build, row.answer.x[row.item] + 0.0  # no negative zeros
    config = build.config
    own = [config.dtype, config.sizes.heads, config.sizes.head_dim, config.sizes.d_in, config.bias]
    held = b"".join(
        name.encode() + (array + 0.0).tobytes() for name, array in sorted(build.tensors.items())
    )
    if row.answer.case.causal:
        visible = [token.tobytes() for token in x[: row.token + 1]]
    else:
        visible = [x[row.token].tobytes(), *sorted(token.tobytes() for token in x)]
    return repr(own).encode() + held + b"|".join(visible)


def same_rows(first: Row, second: Row, allowed: Array | float) -> Finding:
    """The two calls, or the one that both rows are of, and that the rows are to be the same."""
    calls = [first.answer.call, second.answer.call]

    def assertion(names: list[str]) -> list[str]:
        one, other = first.name(names[0]), second.name(names[-1])
        return [
            f"# These two rows see the same tokens: {one} and {other}",
            f"near({other}, {one}.to(torch.float64), {text.slack(np.asarray(allowed))})",
        ]

    return Finding(calls[:1] if calls[0] is calls[1] else calls, assertion)


def replays(finding: Finding, tape: Tape) -> Iterator[Script]:
    """Scripts for a finding, the shortest first: its calls alone, with those before, everything."""
    subject = finding.calls[0].build.subject
    for strided in (False, True):
        yield replayed(Script(subject, strided), merged(finding.calls), finding)
    end = tape.events.index(finding.calls[-1]) + 1
    builds = {id(call.build) for call in finding.calls}
    own = [e for e in tape.events[:end] if isinstance(e, Call) and id(e.build) in builds]
    yield replayed(Script(subject, strided=True), own, finding)
    yield replayed(Script(subject, strided=True), tape.events[:end], finding)


def replayed(script: Script, events: list[Call] | list[Build | Call], finding: Finding) -> Script:
    """The events written down, with the finding's assertion at the end."""
    names: list[str] = []
    wanted = {id(call) for call in finding.calls}
    for number, event in enumerate(events):
        if isinstance(event, Build):
            script.module(event)
        elif finding.assertion is None and number == len(events) - 1:
            refused(script, event)
        else:
            known = id(event) in wanted or len(events) == len(finding.calls)
            output = script.call(event, attempt=event.error is not None)
            names += [output] if known else []
    if finding.assertion is not None:
        script.add(*finding.assertion(names))
    return script


def refused(script: Script, call: Call) -> None:
    """A call on a valid input, which is to be answered."""
    module = script.module(call.build)
    x = script.input(call)
    grad = f"{module}({x}.requires_grad_())" if call.differentiable else f"{module}({x})"
    script.lines += [
        *mode(call, module),
        "try:",
        f"    {grad}",
        "except (Exception, SystemExit) as error:",
        "    raise AssertionError(f'expected an output for a valid input, got {error!r}') from error",
    ]
