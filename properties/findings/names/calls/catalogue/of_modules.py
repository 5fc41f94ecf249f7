"""Wrong masks of modules of tokens, where a mask of pairs and one of keys are often one argument.

Legend: B batch, H heads, T tokens.
"""

from __future__ import annotations

from copy import copy
from dataclasses import replace

import numpy as np

from properties.basics.dtypes import FORMATS
from properties.cases.question import Question, Truth
from properties.findings.names.calls.catalogue import asks, form
from properties.findings.names.calls.catalogue.masks import (
    FILL,
    MEANING,
    SHAPE,
    USE,
    added,
    real_keys,
)
from properties.findings.names.calls.form import RefusedError, by
from properties.subjects.call import Seen
from properties.truth import oracle
from properties.truth.attend import repeated
from properties.truth.oracle import merge

BOTH = ("mask", "padding", "padding_numbers")
ZERO = "a product with the mask, or a fill that is nearly nothing"
AFTER = "whether the mask comes before the softmax"


def of_tokens(asked: Question) -> Question:
    """The question; RefusedError of a function, whose masks have forms of their own."""
    if asked.function:
        raise RefusedError("queries, keys and values are asked about")
    return asked


def told(asked: Question) -> Seen:
    """(B, H, T, T): what the caller shows."""
    seen = np.ones(asked.shape, dtype=np.bool_)
    mask, padding = asked.arguments.mask, asked.arguments.padding
    if mask is not None:
        seen = seen & mask
    return seen if padding is None else seen & padding[:, None, None, :]


def untold(asked: Question) -> Question:
    """Without what the caller hides."""
    return of_tokens(asked).changed(mask=None, padding=None)


def trace_of(asked: Question) -> oracle.Trace:
    """Every step of the right answer."""
    case = asked.case
    return oracle.attention(
        asked.inputs["x"],
        asked.weights,
        heads=case.sizes.heads,
        request=asked.request,
        context=asked.inputs.get("context"),
        positions=asked.rotary,
    )


def as_many(asked: Question) -> Question:
    """A question about tokens that has as many keys as queries; RefusedError of another."""
    if asked.shape[2] != asked.shape[3]:
        raise RefusedError("keys and queries differ in number")
    return of_tokens(asked)


form("mask ignored", USE, *BOTH, asks=untold)


def levelled(level: float) -> None:
    """Enter a number near zero in place of each hidden score."""

    @asks("a hidden score is zero", ZERO, *BOTH)
    def like_others(asked: Question) -> Question:
        open_ = untold(asked)
        logits = trace_of(open_).attended.logits
        return open_.changed(bias=added(open_, np.where(told(asked), 0.0, level - logits)))


for _level in (0.0, -1e-12):
    levelled(_level)


def hidden_afterwards(asked: Question, truth: Truth) -> Truth:
    """Weights of all keys, of which those that are hidden become zero."""
    trace, weights = trace_of(untold(asked)), asked.weights
    shares = trace.attended.weights * told(asked)
    output = merge(shares @ repeated(trace.values, asked.shape[1]))
    if weights is not None and weights.out is not None:
        output = output @ weights.out + (0.0 if weights.out_bias is None else weights.out_bias)
    return replace(truth, output=output, weights=shares)


for _roles in (BOTH, ("padding", "padding_numbers")):
    form("mask after the softmax", AFTER, *_roles, asks=untold, gives=hidden_afterwards)


def of_padding_alone(asked: Question) -> Question:
    """Without padding, and without a mask whose one row for all queries is taken for one of keys."""
    mask = asked.arguments.mask
    one_row = mask is not None and np.asarray(mask).shape[-2] == 1
    return of_tokens(asked).changed(mask=None if one_row else mask, padding=None)


def values_hidden(asked: Question, truth: Truth) -> Truth:
    """Padding has weights, and values of zero."""
    open_, padding = of_padding_alone(asked), asked.arguments.padding
    if padding is None:
        return truth
    trace, weights = trace_of(open_), asked.weights
    output = merge(
        trace.attended.weights
        @ (repeated(trace.values, asked.shape[1]) * padding[:, None, :, None])
    )
    if weights is not None and weights.out is not None:
        output = output @ weights.out + (0.0 if weights.out_bias is None else weights.out_bias)
    return replace(truth, output=output)


form("mask after the softmax", AFTER, *BOTH, asks=of_padding_alone, gives=values_hidden)


@asks("least number added twice", FILL, *BOTH, of_empty=True)
def least_number_added_twice(asked: Question) -> Question:
    """Once for the module's own future, once for what the caller hides: a row that sees nothing is spread
    over the keys that one of them hides, as far as the format tells their sums apart.
    """
    open_ = with_the_future(untold(asked))
    past = np.broadcast_to(asked.case.request.visible, asked.shape)
    hiding = (~past).astype(np.float64) + ~told(asked)
    scores, fmt = trace_of(open_).attended.logits, FORMATS[asked.case.dtype]
    with np.errstate(all="ignore"):
        sums = fmt.round(scores - np.where(hiding > 1.0, np.inf, hiding * fmt.largest))
    nothing = (hiding > 0.0).all(axis=-1, keepdims=True)
    seen = np.where(nothing, np.isfinite(sums), hiding == 0.0)
    top = np.max(sums, axis=-1, keepdims=True, where=seen, initial=-fmt.largest)
    more = np.where(nothing & seen, sums - top - scores, 0.0)
    return by(open_.changed(mask=seen, bias=added(open_, more)), empty="nan")


@asks("mask added as a number", MEANING, *BOTH)
def a_number(asked: Question) -> Question:
    """One where a key is seen."""
    open_ = untold(asked)
    return open_.changed(bias=added(open_, told(asked).astype(np.float64)))


@asks("mask transposed", SHAPE, "mask")
def transposed(asked: Question) -> Question:
    """Queries and keys exchanged."""
    mask = np.asarray(as_many(asked).arguments.mask)
    return asked.changed(mask=mask.swapaxes(-1, -2))


@asks("padding acts on queries", SHAPE, "padding", "padding_numbers", "padding_of_x")
def on_queries(asked: Question) -> Question:
    """A token that is padding sees nothing, and is seen."""
    return with_queries(asked, real_queries(asked))


@asks("padding acts on queries", SHAPE, "padding", "padding_of_x")
def on_queries_upside_down(asked: Question) -> Question:
    """The same where True is meant to be padding, which only keys would show."""
    return with_queries(asked, ~real_queries(asked))


def real_queries(asked: Question) -> Seen:
    """Which tokens of x are no padding, by its own mask or by that of as many keys."""
    own = asked.arguments.padding_of_x
    return real_keys(as_many(asked)) if own is None else np.asarray(own, dtype=np.bool_)


def with_queries(asked: Question, padding: Seen) -> Question:
    """The question in which these queries alone see anything."""
    rows = np.broadcast_to(padding[:, None, :, None], asked.shape)
    mask = rows if asked.arguments.mask is None else rows & asked.arguments.mask
    return asked.changed(padding=None, padding_of_x=None, mask=mask)


@asks("padding acts on queries", SHAPE, *BOTH)
def transposed_with_pairs(asked: Question) -> Question:
    """And a mask of pairs is transposed for the same reason."""
    return as_many(asked).changed(padding=None, mask=told(asked).swapaxes(-1, -2))


@asks("padding counted from the left", "a number of real keys made of the padding mask", "padding")
def counted_from_the_left(asked: Question) -> Question:
    """As many keys as there are real ones, from the first one on."""
    real = real_keys(of_tokens(asked))
    return asked.changed(padding=np.arange(real.shape[1]) < real.sum(axis=1, keepdims=True))


@asks("mask replaces causal", "the branch that a mask leads into", *BOTH)
def replaces_causal(asked: Question) -> Question:
    """The future that the module hides by itself is seen."""
    return with_the_future(asked)


@asks("segments replace causal", "the branch that segments lead into", "segments")
def segments_replace_causal(asked: Question) -> Question:
    """The same beside segments."""
    return with_the_future(asked)


@asks("causal beside a mask alone", "the branch without a mask")
def beside_a_mask_alone(asked: Question) -> Question:
    """Nothing is hidden where no mask is given."""
    given = asked.arguments.given()
    return of_tokens(asked) if given.keys() & set(BOTH) else with_the_future(asked)


def with_the_future(asked: Question) -> Question:
    """The same question to a module that does not hide the future by itself."""
    if not of_tokens(asked).case.causal:
        raise RefusedError("nothing is hidden besides")
    open_ = copy(asked.case.subject)
    open_.family = "encoder"
    return replace(asked, case=replace(asked.case, subject=open_))


@asks("fill of -1e4 leaks", "the number that hides a score", *BOTH, of_empty=True)
def small_fill(asked: Question) -> Question:
    """Added to a score that is larger."""
    open_ = untold(asked)
    return open_.changed(bias=added(open_, np.where(told(asked), 0.0, -1e4)))
