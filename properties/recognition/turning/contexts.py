"""How queries that are turned by their positions meet the tokens of a context: found by a call with both.

Legend: T queries, S tokens of the context.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import torch

from properties.basics.dtypes import Array
from properties.recognition.adapters import trials
from properties.recognition.turning.measured import Build
from properties.subjects.instance import in_eval
from properties.subjects.subject import Config, Subject
from properties.truth import oracle
from properties.truth.parameters import Sizes, Weights
from properties.truth.positions import Rotary

QUERIES, KEYS = 5, 7
ALIKE = 1e-4  # of the output: what float32 and its angles leave
UNTURNED = "neither is turned"
WORDS = {
    "both": "other tokens to attend to: they are turned by places of their own, counted from 0",
    "queries": "other tokens to attend to: queries are turned by their positions, these tokens are not",
    "": "other tokens to attend to: at which positions they stand no trial tells",
}
"""What is said of a context that is not asked about, by what a call shows."""


def met(subject: Subject, build: Build, name: str) -> str:
    """`UNTURNED`, where neither queries nor tokens of a context are turned; else a key of `WORDS`.

    name: the argument for the context, whose tokens are as wide as those of x.
    """
    positions = subject.positions
    assert positions is not None  # else there is nothing to ask
    head_dim = positions.multiple * -(-8 // positions.multiple)
    sizes = Sizes(2, QUERIES, 2 * head_dim, 2, head_dim, 2 * KEYS)
    weights, x, context = drawn(sizes)
    found = output(build, sizes, weights, x, name, context)
    if found is None or found.shape != x.shape:
        return ""
    both = positions.rotary(QUERIES, KEYS)
    turns = {UNTURNED: None, "both": both, "queries": replace(both, keys=np.zeros(KEYS))}
    given = weights, x, context
    return next((way for way, turn in turns.items() if follows(found, turn, given)), "")


def drawn(sizes: Sizes) -> tuple[Weights, Array, Array]:
    """General weights, x (B, T, d_in) and a context (B, S, d_in)."""
    g, width = np.random.default_rng(0), sizes.d_in
    query, key, value = (g.integers(-8, 9, size=(width, width)) / 16.0 for _ in range(3))
    x, context = (
        g.integers(-8, 9, size=(sizes.batch, n, width)) / 8.0 for n in (sizes.tokens, KEYS)
    )
    return Weights(query, key, value, out=np.eye(width)), x, context


def output(
    build: Build, sizes: Sizes, weights: Weights, x: Array, name: str, context: Array
) -> Array | None:
    """What a module gives for x and a context; None where it gives nothing."""
    try:
        module = in_eval(build(Config(sizes, dtype="float32"), weights))
    except Exception:  # whatever it is: then nothing is known
        return None
    given = {name: torch.tensor(context, dtype=torch.float32)}
    found = trials.call(partial(module, **given), torch.tensor(x, dtype=torch.float32)).output
    return None if found is None else found.double().numpy()


def follows(found: Array, turn: Rotary | None, given: tuple[Weights, Array, Array]) -> bool:
    """Whether an output is that of attention to a context by such a turn."""
    weights, x, context = given
    trace = oracle.attention(x, weights, heads=2, causal=False, context=context, positions=turn)
    return bool(np.abs(found - trace.output).max() < ALIKE * np.abs(trace.output).max())
