"""What is right for the gradients of a call of queries, keys and values, and how near is near.

Legend: B batch, H query heads, G key-value heads, T queries, S keys, D head_dim, E width of a value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from properties.basics.assertions import near
from properties.basics.dtypes import Array
from properties.cases.question import Question
from properties.truth import bounds, oracle
from properties.truth.attend import attend, attend_gradients
from properties.truth.bounds import attend_gradient_budget
from properties.truth.request import Request

AXES = {
    "queries": "batch head query column",
    "keys": "batch head key column",
    "values": "batch head key column",
    "bias": "batch head query key",
}


@dataclass(frozen=True, eq=False)
class Slopes:
    """Right gradients and the error that rounding may make, by name: those of queries (B, H, T, D), keys
    (B, G, S, D), values (B, G, S, E) and a bias (B, H, T, S); those of a module's "x" and "context".
    """

    right: Mapping[str, Array]
    allowed: Mapping[str, Array]


def upstream(question: Question) -> Array:
    """(B, H, T, E), integers from 1 to 4: the factors of the outputs whose sum is differentiated.

    Zero in rows that see nothing: what these give is a convention.
    """
    width = question.inputs["values"].shape[3]
    shape = (*question.shape[:3], width)
    integers = np.random.default_rng(question.case.seed).integers(1, 5, size=shape)
    sees_some = question.request.seen(question.shape).any(axis=-1, keepdims=True)
    return np.where(sees_some, integers, 0.0)


def slopes(question: Question, upstream: Array) -> Slopes:
    """What the chain rule says of sum(upstream * output)."""
    return (of_function if question.function else of_module)(question, upstream)


def of_function(question: Question, upstream: Array) -> Slopes:
    """By queries, keys, values and bias."""
    q, k, v = (question.inputs[name] for name in ("queries", "keys", "values"))
    request = claimed(question)
    attended = attend(q, k, v, request)
    right = attend_gradients(q, k, v, request, attended, upstream)
    allowed = attend_gradient_budget(
        q, k, v, request, attended, right, upstream, question.case.dtype
    )
    return Slopes(by_name(right), by_name(allowed))


def claimed(question: Question) -> Request:
    """What is asked; where it is not known what a row gives that sees nothing, it may be NaN, of which
    nothing is claimed.
    """
    known = question.empty not in ("", "mixture")
    return question.request if known else replace(question.request, empty="nan")


def by_name(parts: object) -> dict[str, Array]:
    """The gradients of the inputs; that of a bias of full shape is that of the logits."""
    own = {"queries": "queries", "keys": "keys", "values": "values", "bias": "logits"}
    return {name: getattr(parts, attribute) for name, attribute in own.items()}


BY_DEFAULT = ("queries", "keys", "values")


def agree(question: Question, *names: str) -> float:
    """The subject's gradients are those of the formula; returns the share of the budget used.

    names: those that are compared; by default queries, keys and values.
    """
    factors = upstream(question)
    given, truth = question.gradients(factors), slopes(question, factors)
    return max(
        near(
            f"{question.words} to have a gradient of the {name} of",
            given[name],
            truth.right[name],
            truth.allowed[name],
            AXES[name],
        )
        for name in names or BY_DEFAULT
    )


def agree_by_x(question: Question) -> float:
    """A module's gradient by x is that of the formula; returns the share of the budget used."""
    factors = of_rows_that_see(question)
    truth = slopes(question, factors)
    return near(
        f"{question.words} to have a gradient of x of",
        question.gradient_by_x(factors),
        truth.right["x"],
        truth.allowed["x"],
        "batch token column",
    )


def of_module(question: Question, upstream: Array) -> Slopes:
    """By "x" and, where there is one, by "context"."""
    case, x, weights = question.case, question.inputs["x"], question.weights
    request, context = claimed(question), question.inputs.get("context")
    trace = oracle.attention(
        x,
        weights,
        heads=case.sizes.heads,
        request=request,
        context=context,
        positions=question.rotary,
    )
    right = oracle.gradients(x, weights, trace, upstream)
    allowed = bounds.gradient_budget(
        x, weights, trace, right, upstream, case.dtype, angles=case.angles
    )
    if context is None:
        return Slopes({"x": right.x}, {"x": allowed.x})
    return Slopes(
        {"x": right.x, "context": np.asarray(right.tokens)},
        {"x": allowed.x, "context": np.asarray(allowed.tokens)},
    )


def of_rows_that_see(question: Question) -> Array:
    """(B, T, W): `case.upstream`, zero in rows of which some head sees nothing."""
    sees_some: Array = question.request.seen(question.shape).max(axis=-1).min(axis=1)
    return np.where(sees_some[..., None], question.case.upstream, 0.0)
