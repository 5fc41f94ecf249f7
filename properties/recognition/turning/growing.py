"""What a module does to the positions of a sequence that is longer than it was made for: found by a call.

Legend: T tokens, L the context_length, D head_dim.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from properties.basics.dtypes import Array
from properties.recognition.adapters import trials
from properties.recognition.turning.measured import Build
from properties.subjects.growth import Growth
from properties.subjects.positions import Positions
from properties.subjects.subject import CAUSAL_FAMILIES, Config, Subject
from properties.truth import oracle
from properties.truth.parameters import Sizes, Weights

LENGTH, LONGER = 6, (9, 16)  # one and a half times L, and more than twice: steps and slopes differ
ALIKE = 1e-4  # of the output: what float32 and its angles leave


def grown(
    subject: Subject, build: Build, positions: Positions, factors: tuple[float, ...]
) -> Growth | None:
    """The rule that longer sequences follow; None where they are turned as short ones are, are refused, or
    follow none of those known.

    factors: numbers by which the module may scale.
    """
    if not subject.has("context-length") or not subject.has("projections"):
        return None
    head_dim = positions.multiple * -(-8 // positions.multiple)
    sizes = Sizes(2, LENGTH, 2 * head_dim, 2, head_dim, LENGTH)
    g, width = np.random.default_rng(0), sizes.d_in
    query, key, value = (g.integers(-8, 9, size=(width, width)) / 16.0 for _ in range(3))
    weights = Weights(query, key, value, out=np.eye(width))
    drawn = [g.integers(-8, 9, size=(2, tokens, width)) / 8.0 for tokens in LONGER]
    outputs = [output(build, sizes, weights, x) for x in drawn]
    if any(out is None or out.shape != x.shape for out, x in zip(outputs, drawn, strict=True)):
        return None
    for growth in (None, *rules(factors)):
        rule = replace(positions, growth=growth)
        if all(
            follows(found, x, weights, rule, subject)
            for found, x in zip(outputs, drawn, strict=True)
            if found is not None
        ):
            return growth
    return None


def rules(factors: tuple[float, ...]) -> Iterator[Growth]:
    """Those known."""
    for factor in dict.fromkeys((1.0, *factors)):
        yield Growth("dynamic NTK", factor)
    yield Growth("stepwise NTK")
    yield Growth("linear")


def output(build: Build, sizes: Sizes, weights: Weights, x: Array) -> Array | None:
    """What a module made for L tokens gives for more; None where it gives nothing."""
    try:
        module = build(Config(sizes, dtype="float32"), weights)
    except Exception:  # whatever it is: then nothing is known
        return None
    found = trials.run(module, torch.tensor(x, dtype=torch.float32)).output
    return None if found is None else found.double().numpy()


def follows(found: Array, x: Array, weights: Weights, rule: Positions, subject: Subject) -> bool:
    """Whether an output is that of attention by such a rule."""
    tokens, head_dim = x.shape[1], weights.query.shape[1] // 2
    turn = rule.beyond(tokens, LENGTH, head_dim).rotary(tokens)
    causal = subject.family in CAUSAL_FAMILIES
    truth = oracle.attention(x, weights, heads=2, causal=causal, positions=turn).output
    return bool(np.abs(found - truth).max() < ALIKE * np.abs(truth).max())
