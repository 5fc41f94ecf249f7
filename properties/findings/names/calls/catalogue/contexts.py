"""Wrong sources of queries, keys and values in modules with a context, and wrong masks of it.

Legend: B batch, T tokens of x, S tokens of the context, C its columns, H heads, G heads of keys and
values, D head_dim.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from properties.basics.dtypes import FORMATS, Array
from properties.cases.question import Question, Truth
from properties.findings.names.calls.catalogue import asks, gives
from properties.findings.names.calls.catalogue.windows import seeing
from properties.findings.names.calls.form import Asks, RefusedError
from properties.truth import visibility
from properties.truth.bounds import Near, exactly, product_error
from properties.truth.oracle import affine, merge, out_projection, split
from properties.truth.parameters import Weights

SOURCE = "what queries, keys and values are made of"
MASKS = "which mask is handed on where there is a context"


def of_contexts(called: str, look: str) -> Callable[[Asks], Asks]:
    """Enter a form that holds where there is a context."""

    def enter(change: Asks) -> Asks:
        return asks(called, look)(
            lambda asked: change(asked) if "context" in asked.inputs else asked
        )

    return enter


def equally_long(asked: Question) -> Question:
    """The same; RefusedError where x and the context are not equally long, which raises then."""
    _, _, tokens, keys = asked.shape
    if tokens != keys:
        raise RefusedError(f"{tokens} tokens of x, {keys} of the context")
    return asked


def equally_wide(asked: Question) -> Question:
    """The same; RefusedError where they have not the same columns."""
    if asked.inputs["x"].shape[2] != asked.inputs["context"].shape[2]:
        raise RefusedError("x and the context are not equally wide")
    return asked


def parameters(asked: Question) -> Weights:
    """Those of the module that is asked; RefusedError without any."""
    if asked.weights is None:
        raise RefusedError("no parameters")
    return asked.weights


def projecting(asked: Question, context: Array, key: Array, value: Array) -> Question:
    """The question with another context (B, S, C), and projections (C, G * D) of it."""
    case, call = asked.case, asked.case.call
    if call is None:
        raise RefusedError("no call was drawn")
    heads = (len(key), case.sizes.key_heads, case.sizes.head_dim)
    own = {"context_key": key.reshape(heads), "context_value": value.reshape(heads)}
    told = replace(call, arrays={**call.arrays, **own}, own_width=True)
    return replace(
        asked, case=replace(case, call=told), inputs={**asked.inputs, "context": context}
    )


@of_contexts("queries from the context", SOURCE)
def queries_from_the_context(asked: Question) -> Question:
    """And keys and values from x: as many rows as the context has."""
    x, context = (equally_wide(equally_long(asked)).inputs[name] for name in ("x", "context"))
    return asked.with_inputs({"x": context, "context": x})


@of_contexts("values from the queries' source", SOURCE)
def values_from_x(asked: Question) -> Question:
    """Keys from the context. Written as a context that has both in its columns."""
    x, context = (equally_wide(equally_long(asked)).inputs[name] for name in ("x", "context"))
    weights = parameters(asked)
    nothing = np.zeros_like(weights.key)
    return projecting(
        asked,
        np.concatenate([context, x], axis=2),
        np.concatenate([weights.key, nothing]),
        np.concatenate([nothing, weights.value]),
    )


@of_contexts("context ignored", SOURCE)
def context_ignored(asked: Question) -> Question:
    """X attends to itself."""
    itself = asked.with_inputs({"x": equally_wide(asked).inputs["x"]})
    return itself.changed(mask=None, bias=None, padding=None, padding_of_x=None)


@of_contexts("x attends to itself beside the context", SOURCE)
def beside_itself(asked: Question) -> Question:
    """Keys of x come after those of the context; what is told of these hides none of them."""
    x, context = (equally_wide(asked).inputs[name] for name in ("x", "context"))
    told = {}
    for name, array in asked.arguments.given().items():
        if name in ("mask", "bias", "padding"):
            rim = [(0, 0)] * (array.ndim - 1) + [(0, x.shape[1])]
            told[name] = np.pad(array, rim, constant_values=0.0 if name == "bias" else True)
    both = asked.with_inputs({"x": x, "context": np.concatenate([context, x], axis=1)})
    return both.changed(**told)


@of_contexts("causal across sequences", "the causal mask, which is for x alone")
def causal_across(asked: Question) -> Question:
    """The first query sees the first token of the context alone."""
    _, _, tokens, keys = asked.shape
    return seeing(asked, visibility.causal(tokens, keys))


@of_contexts("causal across sequences", "the causal mask, which is for x alone")
def causal_across_from_the_right(asked: Question) -> Question:
    """The last query sees the last token; the others see fewer, perhaps none."""
    _, _, tokens, keys = asked.shape
    return seeing(asked, visibility.causal(tokens, keys, "bottom right"))


@of_contexts("context of the first item for all", "the axis of items of the context")
def of_the_first_item(asked: Question) -> Question:
    """Right for a batch of one."""
    context = asked.inputs["context"]
    first = np.broadcast_to(context[:1], context.shape).copy()
    return asked.with_inputs({**asked.inputs, "context": first})


@of_contexts("context viewed with the length of queries", "the shape to which keys are viewed")
def viewed_with_the_length_of_queries(asked: Question) -> Question:
    """(B, S, W) -> (B, T, H, S / T, D): each row of keys and values is cut out of S / T tokens. Written as
    a context of T * S / T tokens that holds these tokens side by side, once for each part.
    """
    _, heads, tokens, keys = asked.shape
    if keys % tokens or keys == tokens:
        return asked
    parts, weights, context = keys // tokens, parameters(asked), asked.inputs["context"]
    batch, width = len(context), context.shape[2]
    together = context.reshape(batch, tokens, 1, 1, parts * width)
    which = np.eye(parts)[None, None, :, :, None]
    ones = np.ones((batch, tokens, 1, 1, 1))
    row = (
        np.concatenate([together, ones], axis=-1) * which
    )  # (B, T, parts, parts, parts * width + 1)
    case = asked.case
    bare = replace(case.weights, key_bias=None, value_bias=None) if case.weights else None
    asked = replace(asked, case=replace(case, weights=bare))
    return projecting(
        asked,
        row.reshape(batch, keys, -1),
        cut_out(weights.key, weights.key_bias, heads, parts),
        cut_out(weights.value, weights.value_bias, heads, parts),
    )


def cut_out(matrix: Array, bias: Array | None, heads: int, parts: int) -> Array:
    """The projection that gives column d of head h and part j from the tokens side by side: number
    (h * parts + j) * D + d of what they give one after the other.
    """
    rows, width = matrix.shape
    head_dim = width // heads
    found = np.zeros((parts, parts * rows + 1, width))
    for part in range(parts):
        for column in range(width):
            head, dim = divmod(column, head_dim)
            token, source = divmod((head * parts + part) * head_dim + dim, width)
            found[part, token * rows : (token + 1) * rows, column] = matrix[:, source]
            found[part, -1, column] = 0.0 if bias is None else bias[source]
    return found.reshape(-1, width)


@of_contexts("mask of the queries on the keys", MASKS)
def mask_of_queries(asked: Question) -> Question:
    """Where the context has none of its own; that of a single token is for all keys."""
    of_x = asked.arguments.padding_of_x
    if of_x is None or asked.arguments.padding is not None:
        return asked
    batch, _, _, keys = (asked if asked.shape[2] == 1 else equally_long(asked)).shape
    return asked.changed(padding=np.broadcast_to(of_x, (batch, keys)).copy())


@of_contexts("mask of the queries on the keys", MASKS)
def mask_of_queries_cut(asked: Question) -> Question:
    """Made as long as the context."""
    of_x = asked.arguments.padding_of_x
    if of_x is None or asked.arguments.padding is not None:
        return asked
    tokens, keys = asked.shape[2:]
    more = np.ones((len(of_x), max(keys - tokens, 0)), dtype=np.bool_)
    return asked.changed(padding=np.concatenate([of_x[:, :keys], more], axis=1))


@asks("scale 1/sqrt(tokens)", "the divisor of the scores")
def by_the_number_of_keys(asked: Question) -> Question:
    """As many as there are keys."""
    return asked.changed(scale=asked.shape[3] ** -0.5)


@asks("scale absent", "the divisor of the scores")
def scale_absent(asked: Question) -> Question:
    """Also where it is left out for a context alone."""
    return asked.changed(scale=1.0)


@of_contexts("scale absent", "the branch for a context")
def scale_absent_in_contexts(asked: Question) -> Question:
    """X alone is attended to with it."""
    return asked.changed(scale=1.0)


@gives("softmax over the queries", "the dim of the softmax; it should be -1, the keys")
def over_the_queries(asked: Question, truth: Truth) -> Truth:
    """The weights are those of keys that ask the queries, turned. Their error is that of such a call, and
    the rest rounds as in the definition.
    """
    if asked.function or asked.arguments.given() or asked.hides_the_future:
        raise RefusedError("written for tokens of which none is hidden")
    if asked.case.sizes.key_heads != asked.case.sizes.heads:
        raise RefusedError("written for as many heads of keys as of queries, which change places")
    weights, fmt = parameters(asked), FORMATS[asked.case.dtype]
    x = asked.inputs["x"]
    tokens = asked.inputs.get("context", x)
    swapped = replace(
        weights,
        query=weights.key,
        key=weights.query,
        query_bias=weights.key_bias,
        key_bias=weights.query_bias,
    )
    case = replace(asked.case, weights=swapped, call=None)
    turned = replace(asked, case=case, inputs={"x": tokens, "context": x}).truth
    of_keys = Near(turned.weights, turned.allowed_weights).turned
    values = affine(tokens, weights.value, weights.value_bias)
    of_values = product_error(exactly(tokens), exactly(weights.value), fmt)
    heads = asked.shape[1]
    mixed = Near(split(values, heads), split(of_values + fmt.unit_roundoff * np.abs(values), heads))
    context = merge(of_keys.value @ mixed.value)
    error = merge(product_error(of_keys, mixed, fmt))
    if weights.out is not None:
        error = product_error(Near(context, error), exactly(weights.out), fmt)
    output = out_projection(context, weights)
    error = error + 4.0 * fmt.unit_roundoff * np.abs(output)
    return replace(truth, output=output, allowed=error, allowed_if_empty=error)
