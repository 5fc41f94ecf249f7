"""The truth: a module of attention in float64 NumPy, written from the formula, and its derivative.

Projections, rotary positions, `attend` of queries, keys and values, an output projection. Nothing
here comes from torch or from the reference. The families are special cases: self-attention, as many
groups as heads, everything or the past visible, no positions.

Legend: B batch, T queries, S keys, H heads, G groups, D head_dim, Dv columns of a value, W = H * Dv.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property

from properties.basics.dtypes import Array
from properties.truth import visibility
from properties.truth.attend import Attended, AttendedGradients, attend, attend_gradients
from properties.truth.parameters import Weights
from properties.truth.positions import Rotary
from properties.truth.request import Request


@dataclass(frozen=True, eq=False)
class Trace:
    """Every intermediate result, and what was asked."""

    request: Request
    positions: Rotary | None
    tokens: Array  # (B, S, d): what keys and values are made of
    queries: Array  # (B, H, T, D), as they meet the keys: turned, where there are positions
    keys: Array  # (B, G, S, D), likewise
    values: Array  # (B, G, S, Dv)
    attended: Attended
    output: Array  # (B, T, d_out)

    @property
    def scores(self) -> Array:
        """(B, H, T, S), before scale and cap and before anything is hidden."""
        return self.attended.scores

    @property
    def weights(self) -> Array:
        """(B, H, T, S); where a key is hidden, its weight is zero."""
        return self.attended.weights

    @cached_property
    def context(self) -> Array:
        """(B, T, W), the heads side by side."""
        return merge(self.attended.context)


def attention(
    x: Array,
    weights: Weights | None,
    *,
    heads: int = 1,
    causal: bool = True,
    scaled: bool = True,
    request: Request | None = None,
    context: Array | None = None,
    positions: Rotary | None = None,
) -> Trace:
    """Attention over x (B, T, d_in) with the given parameters; without any, q = k = v = x.

    request: what is asked; without one, `causal` and `scaled` say it. context: (B, S, d), what keys
    and values are made of, x itself unless given. positions: by which queries and keys are turned.
    How many groups there are follows from the width of the keys. Raises ValueError where the widths
    make no whole number of heads or groups.
    """
    tokens = x if context is None else context
    queries, keys, values = split_into_heads(project(x, weights, tokens), heads)
    if positions is not None:
        queries = positions.turn(queries, positions.queries)
        keys = positions.turn(keys, positions.keys)
    if request is None:
        request = asked(x.shape[1], tokens.shape[1], causal=causal, scaled=scaled)
    attended = attend(queries, keys, values, request)
    output = out_projection(merge(attended.context), weights)
    return Trace(request, positions, tokens, queries, keys, values, attended, output)


def asked(queries: int, keys: int, *, causal: bool, scaled: bool) -> Request:
    """What the families ask: the future hidden or nothing, the scale 1 / sqrt(D) or none."""
    sees = visibility.causal if causal else visibility.everything
    return Request(visible=sees(queries, keys), scale=None if scaled else 1.0)


def project(
    x: Array, weights: Weights | None, tokens: Array | None = None
) -> tuple[Array, Array, Array]:
    """Queries (B, T, H * D) of x, keys (B, S, G * D) and values (B, S, G * Dv) of the tokens."""
    tokens = x if tokens is None else tokens
    if weights is None:
        return x, tokens, tokens
    return (
        affine(x, weights.query, weights.query_bias),
        affine(tokens, weights.key, weights.key_bias),
        affine(tokens, weights.value, weights.value_bias),
    )


def affine(x: Array, matrix: Array, bias: Array | None) -> Array:
    """X @ matrix + bias."""
    product = x @ matrix
    return product if bias is None else product + bias


def split_into_heads(parts: tuple[Array, Array, Array], heads: int) -> tuple[Array, Array, Array]:
    """(B, T, H * D), (B, S, G * D), (B, S, G * Dv) -> (B, H, T, D), (B, G, S, D), (B, G, S, Dv)."""
    query, key, value = (part.shape[-1] for part in parts)
    head_dim = query // heads
    groups = key // head_dim if head_dim else heads
    if query % heads or key != groups * head_dim or not groups or heads % groups or value % groups:
        raise ValueError(
            f"queries {query} wide, keys {key}, values {value}: expected {heads} heads of queries, "
            "keys in a number of groups of the same head_dim that divides it, and values in as many"
        )
    return split(parts[0], heads), split(parts[1], groups), split(parts[2], groups)


def split(x: Array, heads: int) -> Array:
    """(B, T, W) -> (B, H, T, D): head h is made of the columns h*D to (h+1)*D."""
    batch, tokens, width = x.shape
    return x.reshape(batch, tokens, heads, width // heads).transpose(0, 2, 1, 3)


def merge(heads: Array) -> Array:
    """(B, H, T, D) -> (B, T, W): the inverse of `split`."""
    batch, number, tokens, head_dim = heads.shape
    return heads.transpose(0, 2, 1, 3).reshape(batch, tokens, number * head_dim)


def out_projection(context: Array, weights: Weights | None) -> Array:
    """The output projection where there is one, else the context itself."""
    if weights is None or weights.out is None:
        return context
    return affine(context, weights.out, weights.out_bias)


@dataclass(frozen=True, eq=False)
class Gradients:
    """Of sum(upstream * output), every step of the chain rule that the error budget needs."""

    context: Array  # (B, H, T, Dv)
    attended: AttendedGradients  # of queries and keys as they meet
    x: Array  # (B, T, d_in)
    tokens: Array | None  # (B, S, d), where keys and values are made of another input than x
    parameters: Weights | None


def gradients(x: Array, weights: Weights | None, trace: Trace, upstream: Array) -> Gradients:
    """The derivative of sum(upstream * output) by the chain rule; upstream is (B, T, d_out)."""
    out = None if weights is None else weights.out
    heads = trace.queries.shape[1]
    context = split(upstream if out is None else upstream @ out.T, heads)
    steps = attend_gradients(
        trace.queries, trace.keys, trace.values, trace.request, trace.attended, context
    )
    query, key = turned_back(trace.positions, steps.queries, steps.keys)
    parts = (merge(query), merge(key), merge(steps.values))
    to_x, *to_tokens = to_inputs(weights, parts)
    parameters = to_parameters(x, weights, trace, parts, upstream)
    if trace.tokens is x:
        return Gradients(context, steps, sum(to_tokens, to_x), None, parameters)
    return Gradients(context, steps, to_x, sum(to_tokens[1:], to_tokens[0]), parameters)


def turned_back(positions: Rotary | None, queries: Array, keys: Array) -> tuple[Array, Array]:
    """From the gradients of what was turned to those of what was projected."""
    if positions is None:
        return queries, keys
    back = positions.transpose
    return back.turn(queries, back.queries), back.turn(keys, back.keys)


def to_inputs(weights: Weights | None, parts: tuple[Array, Array, Array]) -> list[Array]:
    """What queries, keys and values each pass on to what they are made of."""
    if weights is None:
        return list(parts)
    matrices = (weights.query, weights.key, weights.value)
    return [part @ matrix.T for part, matrix in zip(parts, matrices, strict=True)]


def to_parameters(
    x: Array,
    weights: Weights | None,
    trace: Trace,
    parts: tuple[Array, Array, Array],
    upstream: Array,
) -> Weights | None:
    """The gradients of all parameters that are there."""
    if weights is None:
        return None
    made_of = {"query": x, "key": trace.tokens, "value": trace.tokens, "out": trace.context}
    found = dict(zip(made_of, (*parts, upstream), strict=True))
    there = [field.name for field in fields(Weights) if getattr(weights, field.name) is not None]
    return Weights(
        **{
            name: found[name.removesuffix("_bias")].sum(axis=(0, 1))
            if name.endswith("_bias")
            else over_tokens(made_of[name], found[name])
            for name in there
        }
    )


def over_tokens(left: Array, right: Array) -> Array:
    """(B, T, M), (B, T, N) -> (M, N): the sum of outer products over all tokens."""
    return left.reshape(-1, left.shape[-1]).T @ right.reshape(-1, right.shape[-1])
