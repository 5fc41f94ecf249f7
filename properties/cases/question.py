"""One question to a subject beyond "what is the output for x": a call with arguments, and its truth.

A law asks a question, changes it (other keys, a key cut out, another argument) and compares answers.
How a subject wants an argument (its polarity, its layout) is the adapter's; what it means is decided
by the conventions that were found for it, here, once.

Legend: B batch, H query heads, G key-value heads, T queries, S keys, D head_dim, W = H * D.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, TypeVar

import numpy as np

from properties.basics import interrupts
from properties.basics.assertions import Violation, near
from properties.basics.doing import doing
from properties.basics.dtypes import FORMATS, Array
from properties.basics.errors import OutsideError, SubjectError
from properties.cases import documents, probing
from properties.cases.case import Case
from properties.subjects.call import Answer, Arguments, Handing, Inputs, Seen
from properties.subjects.instance import describe, seed_generators
from properties.truth import bounds, oracle, visibility
from properties.truth.attend import Attended, attend, repeated
from properties.truth.bounds import AttendBudget, attend_budget
from properties.truth.oracle import merge
from properties.truth.parameters import Weights
from properties.truth.positions import Rotary
from properties.truth.request import Request
from properties.truth.visibility import Align

BY_FORMULA = {"": "zeros", "mixture": "uniform"}
"""What is taken for what a row gives that sees nothing, where that is not known or not one answer."""


@dataclass(frozen=True, eq=False)
class Truth:
    """Right numbers, each with the error that rounding may make; infinite in rows that see nothing.

    output: (B, T, W), of which allowed_if_empty claims something in such rows, too; weights:
    (B, H, T, S), allowed_averaged that of their mean over heads (B, T, S); lse: (B, H, T); empty:
    (B, H, T), the rows that see nothing.
    """

    output: Array
    allowed: Array
    allowed_if_empty: Array
    weights: Array
    allowed_weights: Array
    allowed_averaged: Array
    lse: Array
    allowed_lse: Array
    empty: Seen


@dataclass(frozen=True, eq=False)
class Compared:
    """A part of an answer in a few words, its numbers, the right ones, and how far they may be apart."""

    what: str
    found: Array
    right: Array
    allowed: Array
    axes: str

    @property
    def grids(self) -> tuple[Array, Array, Array]:
        """As `near` takes them."""
        return self.found, self.right, self.allowed


def came(what: str, part: Array | None) -> Array:
    """What was asked for; a Violation where it did not come."""
    if part is None:
        raise Violation(f"{what}, asked for by the call", "none among what was returned", {})
    return part


Given = TypeVar("Given")
INPUTS = ("queries", "keys", "values")


@dataclass(frozen=True, eq=False)
class Question:
    """A call of the case's subject: its inputs and its arguments."""

    case: Case
    inputs: Inputs
    arguments: Arguments

    @property
    def function(self) -> bool:
        """Whether queries, keys and values go in; else tokens do."""
        return "queries" in self.inputs

    @property
    def crossed(self) -> bool:
        """Whether keys are made of other tokens than queries."""
        return self.function or "context" in self.inputs

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(B, H, T, S) of the scores."""
        if self.function:
            batch, heads, tokens, _ = self.inputs["queries"].shape
            return batch, heads, tokens, self.inputs["keys"].shape[2]
        batch, tokens, _ = self.inputs["x"].shape
        keys = self.inputs["context"].shape[1] if self.crossed else tokens
        return batch, self.case.sizes.heads, tokens, keys

    @cached_property
    def asked_of(self) -> Case:
        """The case whose module is asked: one of the context's width, where that is another than x's."""
        case, call = self.case, self.case.call
        width = self.inputs["context"].shape[2] if "context" in self.inputs else case.sizes.d_in
        if call is None or width == case.sizes.d_in:
            return case
        key, value = (call.arrays[f"context_{name}"] for name in ("key", "value"))
        of_context = {"key": key.reshape(len(key), -1), "value": value.reshape(len(value), -1)}
        sizes = replace(case.sizes, d_context=len(key))
        weights = case.weights and replace(case.weights, **of_context)
        return replace(case, sizes=sizes, weights=weights)

    @property
    def rotary(self) -> Rotary | None:
        """How queries and keys are turned by their positions, counted from where the call says; those
        of a context as the subject places them.
        """
        positions = self.case.subject.positions
        if positions is None:
            return None
        if self.crossed:
            return positions.between(self.case.subject.placed, *self.shape[2:])
        return positions.rotary(self.shape[2], start=self.arguments.start or 0)

    @property
    def weights(self) -> Weights | None:
        """The parameters of the module that is asked."""
        return self.asked_of.weights

    def answer(self, *, after: Question | None = None, handing: Handing | None = None) -> Answer:
        """What the subject gives; SubjectError where it raises, or gives what cannot be read.

        after: a call that the same module answers before; handing: the mode of a module.
        """
        case, subject = self.case, self.case.subject
        module = None if subject.bare else self.asked_of.build().module

        def ask(one: Question) -> Answer:
            given = (module, one.inputs, one.arguments, case.dtype)
            if handing is not None:
                return one.asked(lambda: subject.ask_in(*given, handing))
            return one.asked(lambda: subject.ask(*given))

        if after is not None:
            ask(after)
        return ask(self)

    def answer_handing(self, handing: Handing) -> Answer:
        """What a function gives for the same numbers, handed over in another way."""
        case = self.case
        return self.asked(
            lambda: case.subject.ask_handing(self.inputs, self.arguments, case.dtype, handing)
        )

    def gradients(self, upstream: Array) -> dict[str, Array]:
        """The subject's derivatives of sum(upstream * output) by queries, keys, values and the bias, by
        name; upstream is (B, H, T, E). Only of functions.
        """
        case, subject = self.case, self.case.subject
        return self.asked(
            lambda: subject.call_gradients(self.inputs, self.arguments, upstream, case.dtype)
        )

    def gradient_by_x(self, upstream: Array) -> Array:
        """The derivative of sum(upstream * output) by x, of a module; upstream is (B, T, W)."""
        case, module = self.asked_of, self.asked_of.build().module
        given = (module, self.inputs, self.arguments, upstream, case.dtype)
        return self.asked(lambda: case.subject.module_gradient(*given))

    def asked(self, ask: Callable[[], Given]) -> Given:
        """What the subject gives, with the generators seeded and errors told as the subject's."""
        probing.note(self.case.sizes, self.case.dtype)
        seed_generators(self.case.seed)
        try:
            with doing("in forward"):
                return ask()
        except (SubjectError, OutsideError):
            raise
        except BaseException as error:  # whatever it is, it is the subject's
            interrupts.subjects_own(error)
            raise SubjectError(f"{self.words} raised {describe(error)}") from error

    @property
    def words(self) -> str:
        """The call in a few words: 'a call with mask and scale'."""
        given = ["a context"] if "context" in self.inputs else []
        given += ["other values"] if "context_values" in self.inputs else []
        given += self.arguments.given()
        return f"a call with {' and '.join(given)}" if given else "a call without arguments"

    @cached_property
    def request(self) -> Request:
        """What the arguments mean, by the subject's conventions."""
        a, bias = self.arguments, self.arguments.bias
        seen: Seen = self.of_each(self.within_reach, False)
        if a.mask is not None:
            seen = seen & a.mask
        if a.padding is not None:
            seen = seen & a.padding[:, None, None, :] & ~self.left_open[:, None, :, None]
        if a.segments is not None:
            of_keys = documents.of_keys(a.segments, self.shape[3])
            seen = seen & visibility.documents(a.segments, of_keys)[:, None]
        if a.slopes is not None:
            alibi = partial(visibility.alibi, a.slopes, align=self.align)
            slope = self.of_each(alibi, 0.0)
            bias = slope if bias is None else bias + slope
        if a.padding_numbers is not None:
            added = a.padding_numbers[:, None, None, :]
            bias = added if bias is None else bias + added
        empty = BY_FORMULA.get(self.empty, self.empty)
        scale = 1.0 if a.scale is None and not self.case.subject.scaled else a.scale
        return Request(seen, scale=scale, cap=a.cap, bias=bias, empty=empty)

    @property
    def left_open(self) -> Seen:
        """(B, T), the queries that are padding themselves, where the subject has them see nothing."""
        padding, asked = self.arguments.padding, self.case.subject.has("padding sees nothing")
        if padding is None or self.crossed or not asked:
            return np.zeros((self.shape[0], self.shape[2]), dtype=np.bool_)
        return ~padding

    @property
    def empty(self) -> str:
        """What the subject gives where nothing is seen, "" where that is not known."""
        return self.case.subject.conventions.empty

    def within_reach(self, tokens: int, keys: int) -> Seen:
        """What the flag and the window leave of so many queries and keys, (1, T, S)."""
        seen: Seen = visibility.everything(tokens, keys)
        if self.hides_the_future:
            seen = seen & visibility.causal(tokens, keys, self.align)
        if self.arguments.window is not None:
            left, right = self.arguments.window
            right = left if self.case.subject.conventions.sides == "both" else right
            seen = seen & visibility.window(tokens, keys, left, right, self.align)
        return seen[None]

    def of_each(self, of_one: Callable[[int, int], Array | Seen], elsewhere: float) -> Any:
        """What is so for T queries and S keys, (..., T, S), or for those of each document."""
        tokens, keys = self.shape[2:]
        lengths = self.arguments.documents
        if lengths is None:
            return of_one(tokens, keys)
        return documents.placed(lengths, tokens, keys, of_one, elsewhere)

    @property
    def align(self) -> Align:
        """Where the causal diagonal lies; top left where nothing was found, since then T is S."""
        found = self.case.subject.conventions.align
        return "bottom right" if found == "bottom right" else "top left"

    @property
    def hides_the_future(self) -> bool:
        """Whether it was told to, or does so by itself."""
        subject, a = self.case.subject, self.arguments
        beside = "context" in self.inputs
        if "causal" in subject.takes:
            return bool(a.causal) and not (beside and subject.conventions.align == "x alone")
        if beside:
            return self.case.causal and subject.conventions.align in ("top left", "bottom right")
        masked = a.mask is not None or a.bias is not None
        return self.case.causal and not (masked and subject.has("mask in place of the future"))

    @cached_property
    def truth(self) -> Truth:
        """What the definition says, and how far a right implementation may be from it."""
        return of_function(self) if self.function else of_module(self)

    def agrees(self) -> float:
        """The answer is the truth, in output and in whatever else was asked for, but for rows that see
        nothing, which are a convention; returns the share of the budget used.
        """
        parts = self.compared(self.answer(), self.truth)
        return max(near(f"{self.words} to give {p.what}".rstrip(), *p.grids, p.axes) for p in parts)

    def compared(self, answer: Answer, truth: Truth) -> Iterator[Compared]:
        """Each part of an answer beside what it should be; what was asked for has to be there."""
        yield Compared("", answer.output, truth.output, truth.allowed, "batch query column")
        kept, weights = self.case.subject.conventions, answer.weights
        if self.arguments.weights:
            weights = came("weights", weights)
            right, allowed, axes = truth.weights, truth.allowed_weights, "batch head query key"
            if self.arguments.averaged and weights.ndim == 4:
                raise Violation("weights averaged over heads", "one matrix for each head", {})
            if weights.ndim == 3:
                right, allowed, axes = right.mean(axis=1), truth.allowed_averaged, "batch query key"
            yield Compared("a weight of", weights, right, allowed, axes)
        if self.arguments.lse:
            lse = came("the log-sum-exp", answer.lse) * (
                np.log(2.0) if kept.lse == "base 2" else 1.0
            )
            axes = "batch head query"
            yield Compared("the logarithm", lse, truth.lse, truth.allowed_lse, axes)

    def changed(self, **arguments: Any) -> Question:
        """The same inputs, with other arguments."""
        return replace(self, arguments=replace(self.arguments, **arguments))

    def with_inputs(self, inputs: Inputs) -> Question:
        """The same arguments, with other inputs."""
        return replace(self, inputs=inputs)

    def exchanged(self, places: Sequence[int]) -> Question:
        """Other numbers in the keys at some places and in their values: small ones, drawn anew."""
        rng = np.random.default_rng(self.case.seed + 1)
        return self.mapped(lambda a, axis: filled(a, axis, places, rng))

    def without(self, places: Sequence[int]) -> Question:
        """The keys at some places cut out, with their values and what is said of them.

        Where tokens attend to each other, the queries of these tokens are cut out as well.
        """
        kept = np.setdiff1d(np.arange(self.shape[3]), places)
        rows = np.arange(self.shape[2]) if self.crossed else kept
        told: dict[str, Any] = {
            name: cut(array, {-1: kept} if "padding" in name else {-2: rows, -1: kept})
            for name, array in self.arguments.given().items()
            if name in ("mask", "bias", "padding", "padding_numbers")
        }
        fewer = self.mapped(lambda a, axis: np.take(a, kept, axis))
        return replace(fewer, arguments=replace(self.arguments, **told))

    def mapped(self, change: Callable[[Array, int], Array]) -> Question:
        """Each input of which keys and values are made, and the axis of its tokens, through change."""
        crossed = {"keys": 2, "values": 2} if self.function else {"context": 1, "context_values": 1}
        of_keys = crossed if self.crossed else {"x": 1}
        inputs = {n: change(a, of_keys[n]) if n in of_keys else a for n, a in self.inputs.items()}
        return replace(self, inputs=inputs)

    def rows_without(self, places: Sequence[int]) -> Seen:
        """(T,): the queries that do not come from the tokens at these places."""
        rows = np.ones(self.shape[2], dtype=np.bool_)
        if not self.crossed:
            rows[list(places)] = False
        return rows


def question(case: Case, *roles: str, **told: Any) -> Question:
    """The case's call with the arguments of these roles, and whatever is told besides."""
    call = case.call
    if call is None:
        raise ValueError(f"{case.subject.name} is told nothing but x")
    inputs = {name: call.arrays[name] for name in INPUTS if name in call.arrays}
    if "queries" not in inputs:
        inputs["x"] = case.x
    return Question(case, inputs, Arguments(**of_roles(case, roles, call.arrays) | told))


def crossed(case: Case, *roles: str, **told: Any) -> Question:
    """The same where keys are other tokens than queries: a module is given a context, and the arguments of
    these roles are about that.
    """
    asked, call = question(case), case.call
    if asked.function or call is None:
        return question(case, *roles, **told)
    arrays = {n.removeprefix("context_"): a for n, a in call.arrays.items() if "context_" in n}
    inputs = {**asked.inputs, "context": call.arrays["context"]}
    return Question(case, inputs, Arguments(**of_roles(case, roles, arrays) | told))


def padding_as_numbers(asked: Question) -> Question:
    """The padding of a question as zeros and minus infinities."""
    real = asked.arguments.padding
    assert real is not None  # it was asked for
    return asked.changed(padding=None, padding_numbers=np.where(real, 0.0, -np.inf))


def of_roles(case: Case, roles: Sequence[str], arrays: Mapping[str, Array]) -> dict[str, Any]:
    """What was drawn for these roles, with these arrays."""
    call = case.call
    if call is None:
        return {}
    drawn: dict[str, Callable[[], Any]] = {
        "mask": lambda: arrays["mask"] > 0,
        "padding": lambda: real_keys(case, arrays),
        "padding_numbers": lambda: FORMATS[case.dtype].round(arrays["bias"][:, 0, -1]),
        "bias": lambda: FORMATS[case.dtype].round(arrays["bias"]),
        "slopes": lambda: call.arrays["slopes"],
        "causal": lambda: True,
        "segments": lambda: np.rint(arrays["segments"]).astype(np.int64),
        "documents": lambda: documents.within(
            arrays["documents"], case.sizes.tokens, arrays["keys"].shape[2]
        ),
        "weights": lambda: True,
        "lse": lambda: True,
        "scale": lambda: call.numbers["scale"],
        "cap": lambda: call.numbers["cap"],
        "start": lambda: 1 + case.seed % 5,
        "window": lambda: (int(call.numbers["left"]), int(call.numbers["right"])),
    }
    return {role: drawn[role]() for role in roles}


def real_keys(case: Case, arrays: Mapping[str, Array]) -> Seen:
    """Which keys are no padding, (B, S): any, or the first ones where a number tells them."""
    real: Seen = arrays["padding"] > 0
    of = "" if case.call is None or arrays is case.call.arrays else "context_"
    counted = getattr(case.subject.conventions, f"{of}padding") == "counts"
    return np.sort(real, axis=-1)[:, ::-1] if counted else real


def of_function(question: Question) -> Truth:
    """The truth for queries, keys and values."""
    q, k, v = (question.inputs[name] for name in ("queries", "keys", "values"))
    attended = attend(q, k, v, question.request)
    allowed = attend_budget(q, k, v, question.request, attended, question.case.dtype)
    output, context = merge(attended.context), merge(allowed.context)
    truth = truth_of(attended, output, context, allowed)
    if question.empty == "mixture":
        truth = with_mixtures(truth, merge(repeated(spread(v), q.shape[1])))
    if question.arguments.documents is None:
        return truth
    behind = (
        np.arange(question.shape[2]) >= question.arguments.documents[:, :1]
    )  # are not handed over
    return replace(truth, allowed_if_empty=np.where(behind[..., None], np.inf, context))


def of_module(question: Question) -> Truth:
    """The truth for tokens that are projected."""
    case, x = question.case, question.inputs["x"]
    weights, context = of_one_context(question)
    trace = oracle.attention(
        x,
        weights,
        heads=case.sizes.heads,
        request=question.request,
        context=context,
        positions=question.rotary,
    )
    given = (x, weights, trace, case.dtype)
    of_output = bounds.budget(*given, angles=case.angles).output
    allowed = bounds.budget_inside(*given, angles=case.angles)
    truth = truth_of(trace.attended, trace.output, of_output, allowed)
    if question.empty != "mixture":
        return truth
    further = merge(repeated(spread(trace.values), case.sizes.heads))
    if weights is not None and weights.out is not None:
        further = further @ np.abs(weights.out)
    return with_mixtures(truth, further)


def of_one_context(question: Question) -> tuple[Weights | None, Array | None]:
    """The weights and the context. Tokens of keys and tokens of values stand side by side in one, and each
    projection is zero where the others' columns are.
    """
    weights, context = question.weights, question.inputs.get("context")
    of_values = question.inputs.get("context_values")
    if context is None or of_values is None or weights is None:
        return weights, context
    nothing = np.zeros_like(weights.key)
    both = replace(
        weights,
        key=np.concatenate([weights.key, nothing]),
        value=np.concatenate([nothing, weights.value]),
    )
    return both, np.concatenate([context, of_values], axis=2)


def spread(values: Array) -> Array:
    """How far a mixture of values (B, G, S, Dv) may be from their mean, (B, G, 1, Dv)."""
    far: Array = np.abs(values - values.mean(axis=2, keepdims=True)).max(axis=2, keepdims=True)
    return far


def with_mixtures(truth: Truth, further: Array) -> Truth:
    """The same where a row that sees nothing may be any mixture: so much further off, (B, 1, W)."""
    row = np.asarray(truth.empty.any(axis=1))[..., None]
    return replace(truth, allowed_if_empty=truth.allowed_if_empty + np.where(row, further, 0.0))


def truth_of(attended: Attended, output: Array, allowed: Array, inside: AttendBudget) -> Truth:
    """Nothing is claimed of rows that see nothing, nor of an output in which there is one."""
    empty = attended.empty
    row = np.asarray(empty.any(axis=1))[..., None]  # (B, T, 1)
    return Truth(
        output=output,
        allowed=np.where(row, np.inf, allowed),
        allowed_if_empty=allowed,
        weights=attended.weights,
        allowed_weights=np.where(empty[..., None], np.inf, inside.weights),
        allowed_averaged=np.where(row, np.inf, inside.averaged),
        lse=attended.lse,
        allowed_lse=np.where(empty, np.inf, inside.lse),
        empty=empty,
    )


def flags(case: Case) -> tuple[bool | None, ...]:
    """The causal flag off and on, or None where there is no flag."""
    return (False, True) if "causal" in case.subject.takes else (None,)


def taken(case: Case, *roles: str) -> list[str]:
    """Those of the roles that the subject takes."""
    return [role for role in roles if role in case.subject.takes]


def filled(array: Array, axis: int, places: Sequence[int], rng: np.random.Generator) -> Array:
    """A copy with small exact numbers at some places of an axis, none of which was there."""
    changed = np.moveaxis(array.copy(), axis, 0)
    changed[list(places)] = rng.integers(1, 5, size=changed[list(places)].shape) / 2.0 + 3.25
    return np.moveaxis(changed, 0, axis)


def cut(array: Array, kept: Mapping[int, Any]) -> Array:
    """Only what is kept of some axes, counted from the end; an axis of length 1 is for all of them."""
    for axis, indices in kept.items():
        if array.shape[axis] > 1:
            array = np.take(array, indices, axis=axis)
    return array
