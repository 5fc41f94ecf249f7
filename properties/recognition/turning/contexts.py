"""How queries that are turned by their positions meet the tokens of a context: found by a call with both.

Legend: T queries, S tokens of the context.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
import torch

from properties.basics.dtypes import Array
from properties.recognition.adapters import trials
from properties.recognition.turning.measured import Build
from properties.subjects.instance import in_eval
from properties.subjects.positions import Positions, Way
from properties.subjects.subject import Config, Subject
from properties.truth import oracle
from properties.truth.parameters import Sizes, Weights
from properties.truth.positions import Rotary

QUERIES, KEYS = 5, 7
ALIKE = 1e-4  # of the output: what float32 and its angles leave
Given = tuple[Sizes, Weights, Array, Array]
WAYS: tuple[Way, ...] = ("unturned", "from the start", "to the end")
OFFERS: Mapping[Way, frozenset[str]] = {
    "unturned": frozenset(),
    "from the start": frozenset({"placed"}),
    "to the end": frozenset({"placed", "placed to the end"}),
}
"""The capabilities that follow."""
UNKNOWN = "other tokens to attend to: at which positions they stand no trial tells"
"""What is said of a context that is not asked about."""


def met(subject: Subject, build: Build, name: str) -> Way | None:
    """The way by which queries meet tokens of a context; None where no trial tells.

    Where only as many tokens as queries are met by one, this is meant, and it is held to.
    name: the argument for the context, whose tokens are as wide as those of x.
    """
    positions = subject.positions
    assert positions is not None  # else there is nothing to ask
    for keys in (KEYS, QUERIES):
        given = drawn(positions, keys)
        found = output(build, *given, name)
        for way in WAYS:
            if found is not None and follows(found, positions.between(way, QUERIES, keys), given):
                return way
    return None


def drawn(positions: Positions, keys: int) -> Given:
    """Sizes, general weights, x (B, T, d_in) and a context (B, S, d_in)."""
    head_dim = positions.multiple * -(-8 // positions.multiple)
    sizes = Sizes(2, QUERIES, 2 * head_dim, 2, head_dim, 2 * KEYS)
    g, width = np.random.default_rng(0), sizes.d_in
    query, key, value = (g.integers(-8, 9, size=(width, width)) / 16.0 for _ in range(3))
    x, context = (g.integers(-8, 9, size=(sizes.batch, n, width)) / 8.0 for n in (QUERIES, keys))
    return sizes, Weights(query, key, value, out=np.eye(width)), x, context


def output(
    build: Build, sizes: Sizes, weights: Weights, x: Array, context: Array, name: str
) -> Array | None:
    """What a module gives for x and a context; None where it gives nothing."""
    try:
        module = in_eval(build(Config(sizes, dtype="float32"), weights))
    except Exception:  # whatever it is: then nothing is known
        return None
    given = {name: torch.tensor(context, dtype=torch.float32)}
    found = trials.call(partial(module, **given), torch.tensor(x, dtype=torch.float32)).output
    if found is None or found.shape != x.shape:
        return None
    return found.double().numpy()


def follows(found: Array, turn: Rotary | None, given: Given) -> bool:
    """Whether an output is that of attention to a context by such a turn."""
    _, weights, x, context = given
    trace = oracle.attention(x, weights, heads=2, causal=False, context=context, positions=turn)
    return bool(np.abs(found - trace.output).max() < ALIKE * np.abs(trace.output).max())
