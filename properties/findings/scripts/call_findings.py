"""What calls show to be wrong, and how a script says so: numbers, gradients, two calls, what is left
behind.

Legend: B batch, H query heads, T queries, S keys, E columns of a value.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from properties.basics.dtypes import Array
from properties.basics.errors import SubjectError
from properties.cases.call_gradients import slopes
from properties.cases.question import Compared
from properties.findings.call_tape import Asked, CallTape
from properties.findings.scripts import text
from properties.findings.scripts.call_leftovers import Assertion, leftovers
from properties.findings.scripts.call_places import place
from properties.findings.scripts.call_rows import Pair, apart, off
from properties.findings.scripts.call_source import OWN, CallScript, Told
from properties.findings.scripts.call_terms import definition
from properties.spec.clause import Clause
from properties.truth.bounds import survivors
from properties.truth.oracle import split

TWO_CALLS = frozenset(
    {
        "mask/hidden-key-does-not-matter",
        "mask/hidden-equals-removed",
        "mask/all-shown-is-no-mask",
        "mask/boolean-equals-bias",
        "mask/padding-side-does-not-matter",
        "cross/each-query-alone",
        "cross/order-of-keys-does-not-matter",
        "groups/equal-repeated-heads",
        "score/default-scale",
        "result/asking-changes-nothing",
        "memory/earlier-call-is-forgotten",
        "memory/same-storage-new-numbers",
        "paths/with-and-without-gradients",
        "paths/flag-and-mask-agree",
        "paths/order-in-memory",
        "paths/an-item-alone-or-in-a-batch",
    }
)
"""Laws that compare two calls, and so are shown by both."""
ONE_ANSWER = "paths/one-answer-to-a-row-that-sees-nothing"


@dataclass(frozen=True, eq=False)
class CallFinding:
    """What is wrong with some calls. says: writes it, given these calls as they were written; None: that
    the last one raises is wrong.
    """

    calls: list[Asked]
    says: Assertion | None


def findings(clause: Clause, tape: CallTape) -> Iterator[CallFinding]:
    """What is wrong with the calls of a tape, the most telling first."""
    last = tape.calls[-1]
    if isinstance(tape.failure, SubjectError) and last.error is not None:
        returned = isinstance(last.error, SubjectError)  # something, and not what can be read
        yield CallFinding([last], right_shape if returned and last.upstream is None else None)
    if clause.id == ONE_ANSWER:
        yield from other_answers(tape.calls)
        return
    by_relation, by_numbers = relations(tape.calls), numbers(tape.calls)
    if clause.id in TWO_CALLS:
        yield from by_relation
        yield from by_numbers
    else:
        yield from by_numbers
        yield from by_relation
    for call, says in leftovers(clause, tape.calls):
        yield CallFinding([call], says)


def right_shape(script: CallScript, told: list[Told]) -> None:
    """Among what is returned is an output of the right shape."""
    shape = tuple(told[-1].call.question.truth.output.shape)
    if told[-1].call.question.function:
        batch, heads, tokens, _ = told[-1].call.question.shape
        axes = (heads, tokens) if not script.turned else (tokens, heads)
        shape = (batch, *axes, shape[-1] // heads)
    script.add(
        f"parts = {told[-1].output} if isinstance({told[-1].output}, tuple | list) "
        f"else ({told[-1].output},)",
        "shapes = [tuple(getattr(part, 'shape', ())) for part in parts]",
        f"assert {shape} in shapes, f'expected an output of shape {shape}, got {{shapes}}'",
    )


def relations(calls: list[Asked]) -> Iterator[CallFinding]:
    """Two calls with rows that see the same and differ, the last calls first."""
    answered = [c for c in calls if c.answer is not None and not c.handing.dropout]
    for number in reversed(range(len(answered))):
        for earlier in reversed(answered[:number]):
            pair = next(apart(earlier, answered[number]), None)
            if pair is not None:
                calls = [earlier, answered[number]]
                yield CallFinding(calls, same_rows(pair, off_alone(earlier)))


def other_answers(calls: list[Asked]) -> Iterator[CallFinding]:
    """Two ways of asking the same, in which a row that sees nothing is answered otherwise."""
    for one, other in combinations([call for call in calls if call.answer is not None], 2):
        assert one.answer is not None
        assert other.answer is not None
        allowed = 2.0 * other.question.truth.allowed_if_empty
        if off(other.answer.output, one.answer.output, allowed):
            pair = Pair((), (), allowed, whole=True)
            yield CallFinding([one, other], same_rows(pair, first_is_wrong=False))


def off_alone(call: Asked) -> bool:
    """Whether the output is not what the definition says."""
    assert call.answer is not None
    truth = call.question.truth
    return off(call.answer.output, truth.output, truth.allowed)


def same_rows(pair: Pair, first_is_wrong: bool) -> Assertion:
    """The two calls agree, in all rows or in the one that shows it."""

    def says(script: CallScript, told: list[Told]) -> None:
        one, other = (t.output + place(script, t, "output") for t in told)
        if not pair.whole:
            one, other = (
                f"{name}[{', '.join(map(str, at))}]"
                for name, at in ((one, pair.first), (other, pair.second))
            )
            script.add(f"# These two rows see the same: {one} and {other}")
        found, expected = (one, other) if first_is_wrong else (other, one)
        script.lines += [
            *[""] * pair.whole,
            f"allowed = {text.slack(pair.allowed)}",
            f"near({found}, {expected}.to(torch.float64), allowed)",
        ]

    return says


def numbers(calls: list[Asked]) -> Iterator[CallFinding]:
    """Calls that are not what the definition says, the last ones first."""
    for call in reversed(calls):
        if call.gradients is not None and call.upstream is not None:
            yield from wrong_gradients(call)
        elif call.answer is not None and call.handing.dropout:
            yield CallFinding([call], kept_or_dropped)
        elif call.answer is not None:
            yield from wrong_parts(call)


def wrong_parts(call: Asked) -> Iterator[CallFinding]:
    """The output, or another part of an answer, that is not what the definition says."""
    asked, truth = call.question, call.question.truth
    assert call.answer is not None
    if call.answer.output.shape != truth.output.shape:
        return
    missing = any(
        getattr(asked.arguments, n) and getattr(call.answer, n) is None for n in ("weights", "lse")
    )
    names = ("output", *(n for n in ("weights", "lse") if getattr(asked.arguments, n)))
    compared = [] if missing else zip(names, asked.compared(call.answer, truth), strict=True)
    for name, part in compared:
        if off(part.found, part.right, part.allowed):
            yield CallFinding([call], by_definition(name, part))
    empty = truth.empty.any() and asked.case.subject.conventions.empty
    if empty and off(call.answer.output, truth.output, truth.allowed_if_empty):
        output = Compared("", call.answer.output, truth.output, truth.allowed_if_empty, "")
        yield CallFinding([call], by_definition("output", output, if_empty=empty))


def by_definition(name: str, part: Compared, if_empty: str = "") -> Assertion:
    """A part of what is returned is what the definition says; if_empty: what rows that see nothing give,
    where something is claimed of them.
    """

    def says(script: CallScript, told: list[Told]) -> None:
        asked, found = told[-1].call.question, told[-1].output + place(script, told[-1], name)
        script.lines.append("")
        if not asked.function:
            script.lines += [
                f"expected = {text.tensor(part.right)}",
                f"allowed = {text.slack(part.allowed)}",
                f"near({found}, expected, allowed)",
            ]
            return
        number = ("output", "weights", "lse").index(name)
        script.lines.append(f"expected = right({definition(script, told[-1])})[{number}]")
        if name == "weights" and part.found.ndim == 3:
            script.lines.append("expected = expected.mean(axis=1)  # over the heads")
        if name == "lse" and asked.case.subject.conventions.lse == "base 2":
            found = f"{found} * np.log(2.0)"
        if if_empty:
            rest = EMPTY[if_empty].format(**told[-1].parts)
            script.lines.append(f"expected = np.where(np.isnan(expected), {rest}, expected)")
        allowed = split(part.allowed, asked.shape[1]) if name == "output" else part.allowed
        script.lines += [
            f"allowed = {text.slack(allowed)}",
            f"near({found}, torch.from_numpy(expected), allowed)",
        ]

    return says


EMPTY = {
    "zeros": "0.0",
    "nan": "np.nan",
    "uniform": "{values}.double().mean(2, keepdim=True).repeat_interleave("
    "{queries}.shape[1] // {values}.shape[1], 1).numpy()",
}
"""What a row that sees nothing gives, by each convention."""
EMPTY["mixture"] = EMPTY["uniform"]  # further off, as what is allowed says


def kept_or_dropped(script: CallScript, told: list[Told]) -> None:
    """Values of zeros and ones show the weights: each is dropped, or right and scaled."""
    asked, dropout = told[-1].call.question, told[-1].call.handing.dropout
    found = told[-1].output + place(script, told[-1], "output")
    truth = asked.truth
    allowed = survivors(truth.output, truth.allowed, dropout, asked.case.dtype)
    allowed = np.where((truth.output == 0.0) & np.isfinite(allowed), 0.0, allowed)
    script.add(
        f"expected = right({definition(script, told[-1])})[0] / (1.0 - {dropout})",
        f"expected = torch.from_numpy(expected).where({found} != 0.0, 0.0)  # or dropped",
        f"allowed = {text.slack(split(allowed, asked.shape[1]))}",
        f"near({found}, expected, allowed)",
    )


def wrong_gradients(call: Asked) -> Iterator[CallFinding]:
    """Gradients that are not those of the definition."""
    assert call.gradients is not None
    assert call.upstream is not None
    truth = slopes(call.question, call.upstream)
    for name, found in call.gradients.items():
        if found.shape != truth.right[name].shape:  # of a bias for several heads or items at once
            continue
        if off(found, truth.right[name], truth.allowed[name]):
            yield CallFinding([call], by_chain_rule(name, truth.right[name], truth.allowed[name]))


def by_chain_rule(name: str, right: Array, allowed: Array) -> Assertion:
    """A gradient is what the chain rule gives."""

    def says(script: CallScript, told: list[Told]) -> None:
        call = told[-1].call
        assert call.upstream is not None
        own, argument = OWN.get(name, name), script.subject.takes.get(name, "")
        leaf = told[-1].parts.get(name) or told[-1].options[argument]
        output = told[-1].output + place(script, told[-1], "output")
        script.add(
            *backward(call, output),
            f"found = torch.zeros_like({leaf}) if {leaf}.grad is None else {leaf}.grad",
        )
        if call.question.function:
            given = definition(script, told[-1], "upstream.numpy()")
            expected = f"torch.from_numpy(derived({given})[{own!r}])"
        else:
            expected = text.tensor(right)
        script.lines += [
            f"expected = {expected}",
            f"allowed = {text.slack(allowed)}",
            "near(found, expected, allowed)",
        ]

    return says


def backward(call: Asked, output: str) -> list[str]:
    """What is differentiated; output: (B, H, T, E)."""
    assert call.upstream is not None
    return [
        f"upstream = {text.tensor(call.upstream)}",
        f"({output} * upstream).sum().backward()",
    ]
