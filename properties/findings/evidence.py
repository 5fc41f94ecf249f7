"""What a failure looks like: grids of expected and actual numbers, with the offending cells.

A reduced case may be a single number, on which a mask off by one looks like any other fault. So each
view is tried on a typical case first, then on the reduced one, then on a long sequence; the first on
which a cell is off is drawn. Where none is (the fault is in a mode, an error, a copy), there is
nothing to draw.

Legend: B batch, T tokens, H heads, D head_dim, W = H * D.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from properties.basics.dtypes import Array
from properties.basics.errors import SubjectError
from properties.cases import budgets
from properties.cases.budgets.causality import hidden_gradient
from properties.cases.case import Case, parameters
from properties.cases.devices import read_weights, with_visible_weights
from properties.cases.strategies import PLAIN_SIZES, coincide, grouped, make_case
from properties.findings.cache_evidence import fed
from properties.findings.call_evidence import call_pictures
from properties.findings.names.calls import match as calls
from properties.findings.pictures import Picture, off, worst
from properties.truth import bounds
from properties.truth.parameters import Weights

TYPICAL = replace(PLAIN_SIZES, batch=2, tokens=5, heads=2, head_dim=3, context_length=8)
LONG = 12  # tokens: past the windows and fixed masks that five do not reach
SEED = 1


View = Callable[[Case], Iterable[Picture]]


def evidence(clause: str, case: Case) -> dict[str, Any] | None:
    """Plain data that a report can draw for this failure; None where there is nothing to draw."""
    if calls.concerns(clause, case):
        told = next((picture for picture in call_pictures(clause, case) if picture.off.any()), None)
        return None if told is None else {**told.data(), "case": called(case), "own": True}
    for view in views(clause):
        for candidate in (typical(case), case, typical(case, tokens=LONG)):
            picture = first_off(view, candidate)
            if picture is not None:
                return {**picture.data(), "case": sizes_of(candidate), "own": candidate is case}
    return None


def first_off(view: View, case: Case) -> Picture | None:
    """The first picture with a cell that is off. A subject that raises here shows nothing: what it
    raised where the clause asked is the failure's message.
    """
    try:
        return next((picture for picture in view(case) if picture.off.any()), None)
    except SubjectError:
        return None


def views(clause: str) -> tuple[View, ...]:
    """What may show this clause's failure, the most telling first."""
    area, _, slug = clause.partition("/")
    if area == "causality" and "gradient" in slug:
        return (gradient_leak, leak, weights)
    if area == "gradient" or "gradient" in slug:
        return (gradients, weights, output)
    if area == "causality" and ("future" in slug or "prefix" in slug):
        return (leak, weights, output)
    if area == "dropout" and "eval" in slug:
        return (eval_weights, output)
    return VIEWS.get(area, ())


def typical(case: Case, tokens: int = TYPICAL.tokens) -> Case:
    """Two sequences of ordinary numbers in two heads, in this case's format and options."""
    groups = "several" if case.sizes.shared > 1 else "as heads"
    grown = grouped(replace(TYPICAL, tokens=tokens, context_length=tokens + 3), groups)
    sizes = coincide(grown, "all different", case.subject)
    return make_case(
        case.subject, sizes, case.dtype, "ordinary", case.bias, case.dropout, tokens // 2, SEED
    )


def weights(case: Case) -> Iterator[Picture]:
    """The attention weights of the head that is furthest off, in eval."""
    if case.known:
        probe = with_visible_weights(case)
        yield weight_grid(probe, run(probe), "Attention weights")


def weights_in_parts(case: Case) -> Iterator[Picture]:
    """The attention weights of a sequence that is fed in parts, and of others about a cache."""
    if case.known and case.causal and case.subject.has("cache"):
        probe = with_visible_weights(case)
        for words, found in fed(probe):
            yield weight_grid(probe, found, f"Attention weights {words}")


def eval_weights(case: Case) -> Iterator[Picture]:
    """The same where the module was built with dropout, which must do nothing in eval."""
    if case.known and case.subject.has("dropout"):
        probe = with_visible_weights(case)
        found = run(probe, dropout=case.dropout)
        yield weight_grid(probe, found, f"Attention weights in eval, dropout p = {case.dropout}")


def drawn_weights(case: Case) -> Iterator[Picture]:
    """The weights that dropout left in training: each is zero or 1 / (1 - p) times what it was.

    What is less than half of what it was is taken for dropped.
    """
    if not case.known or not case.subject.has("dropout") or case.dropout >= 1.0:
        return
    probe = with_visible_weights(case)
    drawn = read_weights(probe, run(probe, training=True, dropout=case.dropout))
    kept = probe.trace.weights / (1.0 - case.dropout)
    allowed = bounds.survivors(
        probe.trace.weights,
        read_weights(probe, probe.budget.output),
        case.dropout,
        case.dtype,
    )
    expected = np.where(np.abs(drawn) < probe.trace.weights / 2.0, 0.0, kept)
    title = f"Attention weights in training, dropout p = {case.dropout}"
    yield worst_head("weights", title, expected, drawn, allowed)


def weight_grid(probe: Case, found: Array, title: str) -> Picture:
    """The weights in an output of a case made by `with_visible_weights`."""
    actual, allowed = (read_weights(probe, part) for part in (found, probe.budget.output))
    return worst_head("weights", title, probe.trace.weights, actual, allowed)


def worst_head(kind: str, title: str, expected: Array, actual: Array, allowed: Array) -> Picture:
    """Of grids (B, H, T, T) the one with the most cells that are off."""
    b, h = worst(off(actual, expected, allowed))
    grids = (part[b, h] for part in (expected, actual, allowed))
    return Picture(kind, f"{title}, batch item {b}, head {h}", "query", "key", *grids)


def leak(case: Case) -> Iterator[Picture]:
    """What each output changes by when one token is exchanged: nothing above the diagonal."""
    tokens = case.sizes.tokens
    if not case.causal or tokens < 2:
        return
    before = run(case)
    grids = np.zeros((3, case.sizes.batch, tokens, tokens))  # expected, actual, allowed
    for token in range(tokens):
        probe = replace(case, x=exchanged(case, token))
        column = np.abs(run(probe) - before)
        should, allowed = expected_change(case, probe, column, token)
        for grid, part in zip(grids, (should, column, allowed), strict=True):
            grid[:, :, token] = part.max(axis=-1)
    grids[2][:, np.tri(tokens, dtype=bool)] = np.inf  # a leak is what is looked for
    item = worst(off(grids[1], grids[0], grids[2]))[0]
    title = f"How much an output moves when one token is exchanged, batch item {item}"
    yield Picture("leak", title, "output of token", "exchanged token", *grids[:, item])


def exchanged(case: Case, token: int) -> Array:
    """The input with another token in one place."""
    x = case.x.copy()
    x[:, token] = case.other[:, token]
    same = (x[:, token] == case.x[:, token]).all(axis=-1)
    x[same, token] += 1.0
    return x


def expected_change(case: Case, probe: Case, found: Array, token: int) -> tuple[Array, Array]:
    """(B, T, W) each: what an exchanged token should change, and by how much that may be off.

    Where no weights can be set nothing is known but that it changes no output before it.
    """
    if case.known:
        change = np.abs(probe.trace.output - case.trace.output)
        return change, case.budget.output + probe.budget.output
    should = found.copy()
    should[:, :token] = 0.0
    return should, budgets.difference(case)


def gradient_leak(case: Case) -> Iterator[Picture]:
    """The gradient of each output with respect to each token: zero above the diagonal."""
    tokens = case.sizes.tokens
    if not case.causal or not case.subject.has("module"):
        return
    instance = case.build()
    found, allowed = np.zeros((2, case.sizes.batch, tokens, tokens))
    for token in range(tokens):
        upstream = np.zeros_like(case.upstream)
        upstream[:, token] = case.upstream[:, token]
        gradient = instance.gradients(case.x, upstream)["x"]
        found[:, token] = np.abs(gradient).max(axis=-1)
        allowed[:, token] = hidden_gradient(case, upstream, gradient).max(axis=-1)
    expected = np.tril(found)
    item = worst(off(found, expected, allowed))[0]
    title = f"Size of the gradient of an output with respect to a token, batch item {item}"
    grids = (part[item] for part in (expected, found, allowed))
    yield Picture("leak", title, "output of token", "token", *grids)


def gradients(case: Case) -> Iterator[Picture]:
    """The gradient of the input, then of each parameter that can be read."""
    if not case.known or not case.subject.has("module"):
        return
    found = case.build().gradients(case.x, case.upstream)
    expected, allowed = case.gradients, case.gradient_budget
    yield worst_item("gradient", "Gradient of the input", expected.x, found["x"], allowed.x)
    read = case.subject.collect(found, case.config())
    for name, grids in by_name(expected.parameters, read, allowed.parameters):
        two_dimensional = (np.atleast_2d(part) for part in grids)
        yield Picture("gradient", f"Gradient of {name}", "row", "column", *two_dimensional)


def by_name(*found: Weights | None) -> Iterator[tuple[str, list[Array]]]:
    """The parameters that are in all of these."""
    named = [parameters(part) for part in found]
    for name in named[0]:
        if all(name in part for part in named):
            yield name, [part[name] for part in named]


def output(case: Case) -> Iterator[Picture]:
    """The output of the batch item that is furthest off, in eval."""
    if case.known:
        yield worst_item("output", "Output", case.trace.output, run(case), case.budget.output)


def worst_item(kind: str, title: str, expected: Array, actual: Array, allowed: Array) -> Picture:
    """Of grids (B, T, columns) the one with the most cells that are off."""
    item = worst(off(actual, expected, allowed))[0]
    grids = (part[item] for part in (expected, actual, allowed))
    return Picture(kind, f"{title}, batch item {item}", "token", f"{kind} column", *grids)


def run(case: Case, *, training: bool = False, dropout: float = 0.0) -> Array:
    """The output, if it has the shape of one."""
    found = case.run(training=training, dropout=dropout)
    shape = (case.sizes.batch, case.sizes.tokens, case.sizes.width)
    if found.shape != shape:
        raise SubjectError(f"expected an output of shape {shape}; got {found.shape}")
    return found


def called(case: Case) -> str:
    """The sizes of a case's call."""
    arrays = case.call.arrays if case.call else {}
    if "queries" not in arrays:
        return sizes_of(case)
    batch, heads, tokens, width = arrays["queries"].shape
    groups, keys = arrays["keys"].shape[1:3]
    return f"B={batch} T={tokens} S={keys} H={heads} G={groups} D={width}, {case.dtype}"


def sizes_of(case: Case) -> str:
    """The sizes of a case in attention's own letters."""
    s = case.sizes
    return f"B={s.batch} T={s.tokens} H={s.heads} D={s.head_dim} d_in={s.d_in}, {case.dtype}"


VIEWS: dict[str, tuple[View, ...]] = {
    "weights": (weights, output),
    "causality": (weights, leak, output),
    "heads": (output, weights),
    "groups": (output, weights),
    "context": (weights, output),
    "projection": (output, weights),
    "symmetry": (weights, output),
    "oracle": (weights, output),
    "cache": (weights_in_parts, output),
    "numerics": (weights, output),
    "dropout": (drawn_weights, eval_weights, output),
}
"""By area. Of errors, shapes, states and the like no grid shows anything."""
