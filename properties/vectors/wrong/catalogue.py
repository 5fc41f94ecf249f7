"""The wrong forms of `findings/names/calls`, asked about a vector.

Legend: B documents or items, H heads, T queries, S keys, W columns of all heads, N tokens of all documents.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from properties.basics.dtypes import Array
from properties.cases.case import Case
from properties.cases.question import Question
from properties.findings.names.calls.catalogue import catalogue
from properties.findings.names.calls.form import Form, RefusedError, nothing_else
from properties.subjects.call import ROLES, Arguments, Conventions
from properties.subjects.subject import Config, Subject
from properties.truth.attend import attend
from properties.truth.oracle import split
from properties.truth.parameters import Sizes, Weights
from properties.vectors.call import Parts
from properties.vectors.vector import Vector

BEYOND = ("sink", "rotary", "kept")
"""Options of which the forms know nothing."""
CALLED = {
    "causal corner changes": {
        "top left": "causal from the bottom right",
        "bottom right": "causal from the top left",
    },
    "window from the top left": {"top left": "window from the bottom right"},
    "distance from the top left": {"bottom right": "distance from the top left"},
    "as many keys as queries": {},
}
"""Forms whose name depends on the corner that is right."""
ALIKE = {"padding given as booleans ignored": "padding ignored"}
"""Forms of modules that are another one for functions."""
SIZES = Sizes(batch=1, tokens=1, d_in=1, heads=1, head_dim=1, context_length=1)
NOTHING = np.zeros((1, 1, 1))


class Reader(Subject):
    """Who would read a vector: nobody is asked, its conventions are those of the vector."""

    name, family = "a reader of vectors", "plain"
    bare = True

    def __init__(self, vector: Vector) -> None:
        packed = {"documents"} if vector.options.starts else set()
        self.takes = {role: role for role in ROLES.keys() - {"documents"} | packed}
        self.conventions = Conventions(
            mask="attend", padding="attend", align=vector.align, empty=vector.empty
        )

    def build(self, config: Config, weights: Weights | None) -> Any:
        """Nothing."""
        return None


def of_catalogue(vector: Vector) -> Iterator[tuple[str, Parts]]:
    """The name of each form that concerns a vector, and what it gives."""
    if any(getattr(vector.options, name) is not None for name in BEYOND):
        return
    asked = question(vector)
    for form in catalogue():
        if not form.concerns(asked) or form.writes or form.slopes:
            continue
        try:
            given = parts(vector, asked, form)
        except RefusedError:
            continue
        yield called(form, vector), given


def called(form: Form, vector: Vector) -> str:
    """The name of a form where the vector's corner is right."""
    name = ALIKE.get(form.called, form.called)
    return CALLED.get(name, {}).get(vector.align, name)


def question(vector: Vector) -> Question:
    """The vector as a question; documents stand one an item."""
    told = vector.options
    bias, slopes = (None if x is None else x.array for x in (told.bias, told.slopes))
    arguments = Arguments(
        mask=told.mask,
        bias=bias,
        padding=told.padding,
        causal=told.causal,
        window=told.window,
        scale=told.scale,
        cap=told.cap,
        slopes=slopes,
        documents=vector.lengths if told.starts else None,
        weights=bool(told.weights),
        lse=True,
    )
    subject = Reader(vector)
    case = Case(subject, SIZES, "float64", NOTHING, NOTHING, None, False, 0.0, 1, seed=0)
    return Question(case, inputs(vector), arguments)


def inputs(vector: Vector) -> Mapping[str, Array]:
    """Queries, keys and values; those of documents one an item, with zeros behind the shorter ones."""
    arrays = {"queries": vector.queries, "keys": vector.keys, "values": vector.values}
    found = {name: part.array for name, part in arrays.items()}
    if vector.options.starts is None:
        return found
    queries, keys = vector.options.starts
    starts = {"queries": queries, "keys": keys, "values": keys}
    return {name: by_document(part, starts[name]) for name, part in found.items()}


def by_document(part: Array, starts: tuple[int, ...]) -> Array:
    """(1, H, N, D) -> (B, H, T, D)."""
    longest = max(np.diff(starts))
    items = np.zeros((len(starts) - 1, part.shape[1], longest, part.shape[3]))
    for item, (start, stop) in zip(items, itertools.pairwise(starts), strict=True):
        item[:, : stop - start] = part[0, :, start:stop]
    return items


def parts(vector: Vector, asked: Question, form: Form) -> Parts:
    """What a form gives, as a vector has it; RefusedError where it gives nothing."""
    if form.gives is nothing_else and not vector.options.starts:  # no bounds are needed
        other = form.asks(asked)
        q, k, v = (other.inputs[name] for name in ("queries", "keys", "values"))
        found = attend(q, k, v, other.request)
        return Parts(found.context, found.lse, found.weights, found.empty)
    truth = form.truth(asked)
    output, starts = split(truth.output, vector.shape[1]), vector.options.starts
    if starts is None:
        return Parts(output, truth.lse, truth.weights, truth.empty)
    right = vector.call.parts  # whose LSE says nothing of documents in a call of all of them
    return Parts(one_after_the_other(output, starts[0]), right.lse, right.weights, right.nothing)


def one_after_the_other(items: Array, starts: tuple[int, ...]) -> Array:
    """(B, H, T, E) -> (1, H, N, E)."""
    lengths = np.diff(starts)
    return np.concatenate([item[:, :n] for item, n in zip(items, lengths, strict=True)], axis=1)[
        None
    ]
