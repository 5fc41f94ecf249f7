"""The samples of which the laws of dropout are asked.

`training`: the example's own weights, each shown twice, in a few calls. `draws`: the example's own sizes
with equal scores, so that every weight is safely away from zero and the patterns are exact, in CALLS
calls. `crowd`: one call on so many draws that a small error of the probability shows.

Everything is compared with the subject's own weights in eval mode, so that a wrong scale or mask is
not mistaken for a fault of dropout.

Legend: B batch, T tokens, H heads, D head_dim, W = H * D, C calls, R readings of each weight.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache

import numpy as np

from properties.basics.dtypes import FORMATS, Array
from properties.cases import budgets
from properties.cases.case import Case
from properties.cases.devices import pad, with_queries_keys_values
from properties.spec.clauses.conditions import ALIVE, visible
from properties.subjects.instance import Instance, seed_generators
from properties.truth import bounds, chance
from properties.truth.chance import Bits

CALLS = 16  # of one instance, at the example's own sizes: enough for most to tell shared patterns
OWN_CALLS = 3  # at the example's own scores: a weight should survive in two of them
CROWD_TOKENS = 32
SEEDS = 2**16  # seeds of cases are below this; a fresh sample takes the next as many
AXES = ("call", "batch", "head", "query", "key")


@dataclass(frozen=True, eq=False)
class Training:
    """Calls of one instance in training mode, (C, B, T, W), and one in eval, (B, T, W).

    probe: the case whose output shows its weights R times; one: the probe, or where all its items
    are alike one of them; still: the output in eval mode of one of these two.
    """

    probe: Case
    one: Case
    instance: Instance
    dropout: float
    outputs: Array
    still: Array
    readings: int = 1

    @cached_property
    def drawn(self) -> Array:
        """The weights after dropout, (C, B, H, T, R, T)."""
        return np.stack([read(self.probe, output, self.readings) for output in self.outputs])

    @cached_property
    def undropped(self) -> Array:
        """The subject's own weights in eval mode, (B, H, T, R, T)."""
        return read(self.probe, self.still, self.readings)

    @cached_property
    def allowed(self) -> Array:
        """How far the undropped weights of two runs may be apart."""
        return read(self.one, budgets.difference(self.one), self.readings)

    @cached_property
    def scaled(self) -> tuple[Array, Array]:
        """What survivors should be, and the error they may have."""
        expected = self.undropped / (1.0 - self.dropout)
        allowed = bounds.survivors(self.undropped, self.allowed, self.dropout, self.probe.dtype)
        return expected, allowed

    @cached_property
    def dropped(self) -> Bits:
        """Which weights look dropped: below half of what even a factor of 1 - p would leave."""
        known = self.undropped - self.allowed
        fewest: Bits = np.abs(self.drawn) < 0.5 * (1.0 - self.dropout) * known
        return fewest


@dataclass(frozen=True, eq=False)
class Draws(Training):
    """The same with equal scores and equal items: bits, one for each weight, (C, B, H, T, T)."""

    @cached_property
    def drawn(self) -> Array:
        """The same without what the subject declares to share its draws."""
        return apart(self.probe, super().drawn, batch=1, heads=2)

    @cached_property
    def undropped(self) -> Array:
        """The same without these."""
        return apart(self.probe, super().undropped, batch=0, heads=1)

    @cached_property
    def allowed(self) -> Array:
        """The same without these."""
        return apart(self.probe, super().allowed, batch=0, heads=1)

    @cached_property
    def seen(self) -> Bits:
        """The weights that are not hidden: at least half an even share."""
        there = self.undropped[..., 0, :] > 0.5 / self.probe.sizes.tokens
        return np.broadcast_to(there, self.bits.shape)

    @cached_property
    def bits(self) -> Bits:
        """Which weights were dropped; no error budget is needed, so far from zero they are."""
        return self.bits_of(self.drawn)

    def bits_of(self, drawn: Array) -> Bits:
        """The same for other calls with these scores."""
        left = 0.5 * (1.0 - self.dropout) * self.undropped
        drawn = apart(self.probe, drawn, batch=1, heads=2)
        lost: Bits = (np.abs(drawn) < left)[..., 0, :]
        return lost


def apart(case: Case, array: Array, **axes: int) -> Array:
    """An array with one entry alone along the axes whose entries share their draws by convention."""
    for name in case.subject.dropout_shared:
        array = array.take([0], axis=axes[name])
    return array


def read(probe: Case, output: Array, readings: int) -> Array:
    """(..., T, W) -> (..., H, T, R, T): the weights in an output, all readings of them."""
    s = probe.sizes
    columns = readings * s.tokens
    if probe.subject.family == "plain":
        shown = output[..., None, :, -columns:]
    else:
        by_head = output.reshape(*output.shape[:-1], s.heads, s.head_dim)
        shown = by_head[..., :columns].swapaxes(-2, -3)
    return shown.reshape(*shown.shape[:-1], readings, s.tokens)


def calls(instance: Instance, x: Array, count: int, seed: int) -> Array:
    """Several calls in training mode, (C, B, T, W), the generator seeded before the first alone."""
    seed_generators(seed)
    return np.stack([instance.call(instance.tensor(x), training=True) for _ in range(count)])


@lru_cache(maxsize=ALIVE)
def training(case: Case) -> Training:
    """The example's own weights, each shown in two columns, over a few calls."""
    probe = shown_twice(case)
    instance = probe.build(dropout=case.dropout)
    outputs = calls(instance, probe.x, OWN_CALLS, case.seed)
    still = instance.run(probe.x)
    return Training(probe, probe, instance, case.dropout, outputs, still, readings=2)


def shown_twice(case: Case) -> Case:
    """The case with the same queries and keys whose output holds every weight twice."""
    tokens = case.sizes.tokens
    if case.subject.family == "plain":
        probe = visible(case)
        x = np.concatenate([probe.x, probe.x[..., -tokens:]], axis=-1)
        sizes = replace(probe.sizes, d_in=x.shape[-1], head_dim=x.shape[-1])
        return replace(probe, x=x, other=x, sizes=sizes)
    queries, keys = (FORMATS[case.dtype].round(p) for p in (case.trace.queries, case.trace.keys))
    dims = max(2 * tokens, queries.shape[-1])
    twice = np.tile(np.eye(tokens), (*keys.shape[:2], 1, 2))
    return with_queries_keys_values(case, *(pad(part, dims) for part in (queries, keys, twice)))


def even(case: Case, batch: int, tokens: int) -> Case:
    """Equal scores: a query gives the keys that it sees the same weight each, and the output shows
    it. Every batch item is the same sequence of one-hot tokens.
    """
    one_hot = np.eye(tokens)[None]
    if case.subject.family == "plain":
        sizes = replace(case.sizes, batch=1, tokens=tokens, d_in=tokens, head_dim=tokens)
        one = replace(case, sizes=sizes, x=one_hot, other=one_hot)
    else:
        queries, values = (
            np.repeat(one_hot[None], count, axis=1)
            for count in (case.sizes.heads, case.sizes.key_heads)
        )
        one = with_queries_keys_values(case, 0.0 * queries, 0.0 * values, values)
    x = np.repeat(one.x, batch, axis=0)
    return replace(one, sizes=replace(one.sizes, batch=batch), x=x, other=x)


@dataclass(frozen=True)
class Question:
    """All that a sample with equal scores depends on; cases that ask the same share the answer."""

    subject: int  # the id of the case's
    batch: int
    tokens: int
    heads: int
    groups: int
    context_length: int
    dtype: str
    bias: bool
    dropout: float
    calls: int
    seed: int
    case: Case = field(compare=False)


@lru_cache(maxsize=ALIVE)
def answer(q: Question) -> Draws:
    """The sample that the question asks for."""
    one, probe = (even(q.case, batch, q.tokens) for batch in (1, q.batch))
    instance = probe.build(dropout=q.dropout)
    outputs = calls(instance, probe.x, q.calls, q.seed)
    return Draws(probe, one, instance, q.dropout, outputs, instance.run(one.x))


def ask(case: Case, batch: int, tokens: int, dropout: float, count: int, sample: int) -> Draws:
    """So many calls on a probe of these sizes; another sample has another seed."""
    s, seed = case.sizes, case.seed + sample * SEEDS
    return answer(
        Question(
            id(case.subject),
            batch,
            tokens,
            s.heads,
            s.groups,
            s.context_length,
            case.dtype,
            case.bias,
            dropout,
            count,
            seed,
            case,
        )
    )


def draws(case: Case, sample: int = 0) -> Draws:
    """Many calls with equal scores at the example's own sizes."""
    return ask(case, case.sizes.batch, sample_tokens(case), case.dropout, CALLS, sample)


def crowd(case: Case, dropout: float, sample: int = 0) -> Draws:
    """One call with equal scores and enough weights to see a small error of the probability."""
    shown = CROWD_TOKENS * (CROWD_TOKENS + 1) // 2 if case.causal else CROWD_TOKENS**2
    _, heads = drawn_apart(case)
    number = -(-chance.DRAWS // (heads * shown))
    batch, calls_made = (1, number) if "batch" in case.subject.dropout_shared else (number, 1)
    return ask(case, batch, CROWD_TOKENS, dropout, calls_made, sample)


def drawn_apart(case: Case) -> tuple[int, int]:
    """How many batch items and heads have draws of their own: all, or by convention one."""
    shared = case.subject.dropout_shared
    return (
        1 if "batch" in shared else case.sizes.batch,
        1 if "heads" in shared else case.sizes.heads,
    )


def sample_tokens(case: Case) -> int:
    """The tokens of a sample: the example's, and more where items or heads share their draws."""
    s = case.sizes
    times = s.batch * s.heads // math.prod(drawn_apart(case))
    return s.tokens if times == 1 else min(CROWD_TOKENS, s.tokens * times)


def draws_in_a_call(case: Case) -> int:
    """How many weights of a sample are not hidden."""
    tokens = sample_tokens(case)
    shown = tokens * (tokens + 1) // 2 if case.causal else tokens**2
    return math.prod(drawn_apart(case)) * shown
