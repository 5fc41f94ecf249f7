"""Scores without any mask: scale, cap, shared heads, sinks, results, numbers that overflow."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from properties.vectors.exact import Exact, drawn
from properties.vectors.groups import group, vector
from properties.vectors.vector import Vector


@group(
    "plain", "Queries, keys and values alone: the default scale, the axis of the softmax, layouts."
)
def plain() -> Iterator[Vector]:
    """Sizes that differ, and sizes that are one."""
    yield vector(101, "all sizes differ", H=3, T=2)
    yield vector(102, "as many items as heads, as many queries as keys", T=3, S=3, D=5, E=5)
    yield vector(103, "values as wide as keys", B=2, T=2, S=3, D=5, E=5)
    yield vector(104, "one query", T=1, S=7, H=3)
    yield vector(105, "one key: its value, whatever the score", B=1, H=2, T=2, S=1, E=2)
    yield vector(106, "one column", H=3, T=2, S=3, D=1, E=3)
    yield vector(107, "the most keys, the most columns", B=1, T=2, S=11, D=13, E=11, loud=1.0)
    one = vector(108, "scores of hundreds, values as wide as keys", B=1, T=3, S=3, D=5, E=5)
    yield replace(one, queries=Exact(one.queries.integers, 16.0))


@group(
    "scores",
    "A scale that is given, a cap c tanh(z / c), in this order; sinks in a file of their own.",
)
def scores() -> Iterator[Vector]:
    """Scale and cap, alone and together."""
    few = {"B": 1, "T": 2, "S": 5, "E": 5}
    many = {"B": 1, "T": 2, "S": 11, "E": 11}
    yield vector(121, "a scale above one", **few, scale=4.0, loud=0.0625)
    yield vector(122, "a scale below the default", **many, scale=0.25, loud=1.0, pick=1)
    yield vector(123, "a scale of zero: the mean of the values", B=1, T=2, scale=0.0)
    yield vector(124, "a cap far below the scores", **few, cap=0.5, loud=1.0)
    yield vector(125, "a cap near the scores", **few, cap=8.0, loud=1.0, pick=1)
    yield vector(126, "a cap and a scale", **many, cap=8.0, scale=0.25, loud=1.0, pick=1)


@group("groups", "Heads that share keys and values: head h reads group h // (H / G).")
def shared() -> Iterator[Vector]:
    """Several groups, one group, a prime number of heads in one."""
    yield vector(141, "three groups of two heads", B=1, H=6, G=3, T=2, D=5, E=5, loud=1.0)
    yield vector(142, "two groups of three heads", B=1, H=6, G=2, T=2)
    yield vector(143, "one group of three heads", H=3, G=1, T=2)
    yield vector(144, "one group, values as wide as keys", H=3, G=1, T=2, S=3, D=5, E=5)


@group("sinks", "A sink: exp(sink) joins the denominator of its head and takes no value.")
def sinks() -> Iterator[Vector]:
    """Two heads, two sinks."""
    two = Exact(np.array([1, 12]), 0.5)
    yield vector(161, "a sink for each head", B=1, T=2, sink=two)
    yield vector(162, "a sink beside a scale", B=1, T=2, scale=0.25, sink=two)
    one = Exact(np.array([-4, 12]), 0.5)
    yield vector(
        163,
        "a sink below zero, and a mask",
        B=1,
        T=2,
        S=3,
        E=3,
        sink=one,
        mask=np.array([[[[True, False, True]]]]),
    )


@group("results", "The weights themselves, (B, H, T, S), beside output and LSE.")
def results() -> Iterator[Vector]:
    """Wanted weights, with a mask and without."""
    yield vector(181, "weights of every head", T=2, S=3, E=3, weights=True)
    mask = np.array([[True, True, False], [False, True, True]])[None, None]
    yield vector(182, "weights beside a mask", T=2, S=3, E=3, weights=True, mask=mask)


@group("numerics", "Scores that overflow an exponential, or lie far from zero.")
def numerics() -> Iterator[Vector]:
    """Loud scores, and scores with a common offset."""
    one = vector(201, "scores of a thousand: the largest takes all", B=1, T=2, S=3, E=3, scale=1.0)
    yield replace(one, queries=Exact(one.queries.integers, 16.0))
    one = vector(202, "all scores near minus eight hundred", B=1, T=2, S=3, E=3, scale=1.0)
    queries, keys = one.queries.integers.copy(), one.keys.integers.copy()
    queries[..., 0], keys[..., 0] = 100, -128
    yield replace(one, queries=Exact(queries, 0.25), keys=Exact(keys, 0.25))
    mask = np.array([True, True, False])[None, None, None]
    one = vector(203, "a hidden key that is loud", B=1, T=2, S=3, E=3, mask=mask)
    keys = one.keys.integers.copy()
    keys[..., 2, :] *= 2**11
    yield replace(one, keys=Exact(keys, 0.25))
    bias = drawn("204/bias", (1, 2, 2, 3), 8, 64.0)
    yield vector(204, "a bias of hundreds", B=1, T=2, S=3, E=3, bias=bias)
