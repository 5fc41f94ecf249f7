"""Whether and how a module turns its queries and keys by their positions.

Legend: T tokens, D head_dim, R the columns that are turned.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from inspect import Parameter
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from properties.cases.strategies import make_case
from properties.recognition.adapters import trials
from properties.recognition.adapters.blueprint import Blueprint
from properties.recognition.adapters.calls import of_forward
from properties.recognition.turning import growing, looks, measured, scalings
from properties.recognition.turning.handed import TABLES, Handed, forms, hook_of, role, wanted
from properties.recognition.turning.looks import Look
from properties.recognition.turning.measured import BASES, HEAD_DIM, Build, Measured
from properties.subjects.instance import in_eval
from properties.subjects.positions import Positions
from properties.subjects.subject import Config, Subject
from properties.truth import bounds
from properties.truth.parameters import Sizes

PAIRED = 0.05  # of the scores: what no turn of these pairs explains, if they are the pairs
LATER = 3  # a start that is not 0
TELLS = 2.0**-40  # radians: frequencies that are known less well were made of angles in float32
HALF = ("bfloat16", "float16")
FAR = Sizes(batch=1, tokens=24, d_in=16, heads=2, head_dim=8, context_length=26)


def with_angles(blueprint: Blueprint, module: nn.Module) -> tuple[Blueprint, nn.Module]:
    """The same, or with the cosines and sines that forward asks its caller for made from x.

    Of the forms in which they can be handed, the first with which it runs.
    """
    call = of_forward(module)
    roles = wanted(call.required[1:], call.optional) if call else {}
    if not roles or not call or set(call.required[1:]) - set(roles):
        return blueprint, module
    sizes = blueprint.sizes(2)
    x = trials.random_input(sizes.batch, sizes.tokens, sizes.d_in)
    for form in forms():
        told = replace(blueprint, handed=Handed(roles, sizes.head_dim, form))
        made = told.attempt(Config(sizes), None)
        if runs(trials.run(made, x)):
            return told, made
    return blueprint, module


def runs(trial: trials.Trial) -> bool:
    """Whether there are numbers in what was returned, and nothing else: cosines taken for something
    that they are not may end as NaN.
    """
    tensors = [trial.output, *trial.returned]
    found = [tensor for tensor in tensors if isinstance(tensor, Tensor)]
    return bool(found) and all(bool(tensor.isfinite().all()) for tensor in found)


def defaults(target: Callable[..., Any]) -> dict[str, Any]:
    """The arguments of a constructor, each with its default, None where it has none."""
    try:
        parameters = inspect.signature(target).parameters
    except (TypeError, ValueError):
        return {}
    return {
        name: None if p.default is Parameter.empty else p.default for name, p in parameters.items()
    }


def found(
    subject: Subject, build: Build, module: nn.Module, given: Mapping[str, Any]
) -> Positions | None:
    """The convention of a subject, the nearest one where none is followed; None where nothing is turned.

    build: as `Subject.build`; module: one of its modules; given: what its constructor takes.
    """
    if not subject.has("projections") or not looks.speaks(module, given):
        return None
    dtype = "float64" if "float64" in subject.dtypes else subject.dtypes[0]
    made = measured.built(build, dtype)
    scores = measured.measure(made, dtype) if made is not None else None
    if made is None or scores is None or not scores.known.any():
        subject.notes += ("not asked: whether positions turn queries and keys, no trial tells",)
        return None
    seen = looks.look(made, given)
    known = measured.fitting(scores, tuple(dict.fromkeys([*filter(None, [seen.base]), *BASES])))
    if dtype not in HALF:
        known = scalings.scaled(build, dtype, seen, known, scores)
    if known is None and not intended(seen, scores):
        return None
    if known is not None:
        known = replace(known, growth=growing.grown(subject, build, known, seen.factors))
    positions = known or replace(nearest(seen, scores), known=False)
    return precise(subject, positions)


def start(subject: Subject, build: Build, module: nn.Module, names: Iterable[str]) -> str:
    """The argument of forward that says where the first token stands, "" where none was seen to.

    With another start each query must give all of its weight to the tokens that came: what reads
    earlier ones out of a cache does not.
    """
    if (handed := hook_of(module)) is not None:
        return next(name for name, of in handed.roles.items() if of in TABLES)
    dtype = "float64" if "float64" in subject.dtypes else subject.dtypes[0]
    asked = [name for name in names if role(name) == "start"]
    made = measured.built(build, dtype) if asked else None
    if made is None:
        return ""
    tokens = torch.tensor(measured.drawn()[0], dtype=getattr(torch, dtype))
    for name in asked:
        output = trials.call(partial(in_eval(made), **{name: LATER}), tokens).output
        if output is not None and output.shape == tokens.shape:
            sums = output.unflatten(-1, (measured.HEADS, -1)).sum(dim=-1)
            if bool((sums - 1.0).abs().max() < measured.ALIKE):
                return name
    return ""


def intended(seen: Look, scores: Measured) -> bool:
    """Whether a module that follows no convention is meant to: by its tables, or since it turns pairs."""
    if seen.intended:
        return True
    unturned = scores.distance(None) < measured.ALIKE
    return (
        not unturned
        and min(scores.spread("halves", 1.0), scores.spread("neighbours", 1.0)) < PAIRED
    )


def nearest(seen: Look, scores: Measured) -> Positions:
    """The convention that a module which follows none is held to: what its tables say, else the pairs
    that its scores show, else the usual one.
    """
    portion = min(1.0, (seen.columns or HEAD_DIM) / HEAD_DIM)
    pairing = seen.pairing
    if pairing is None:
        pairing = "halves"
        if scores.spread("neighbours", portion) < PAIRED <= scores.spread("halves", portion):
            pairing = "neighbours"
    return Positions(pairing, seen.base or BASES[0], portion)


def precise(subject: Subject, positions: Positions) -> Positions:
    """The convention with the format in which angles are computed in float64, as far as a trial tells.

    In half precision they may be of that very format: buffers go along where a module is moved.
    """
    turned = copy.copy(subject)
    turned.positions = replace(positions, coarse=tuple(d for d in HALF if d in subject.dtypes))
    if "float64" not in subject.dtypes:
        return turned.positions
    head_dim = positions.multiple * -(-FAR.head_dim // positions.multiple)
    groups = 1 if subject.has("one group") else 0
    sizes = replace(FAR, head_dim=head_dim, d_in=FAR.heads * head_dim, groups=groups)
    case = make_case(turned, sizes, "float64", "ordinary", False, 0.5, 1, 0)
    x = torch.tensor(case.x, dtype=torch.float64)
    output = trials.run(subject.build(case.config(), case.weights), x).output
    if output is None or output.shape != case.trace.output.shape:
        return turned.positions
    off = np.abs(output.numpy() - case.trace.output)
    within = {
        name: bool(
            (
                off
                <= bounds.budget(case.x, case.weights, case.trace, "float64", angles=name).output
            ).all()
        )
        for name in ("float32", "float64")
    }
    exact = within["float64"] or not within["float32"]
    return replace(turned.positions, exact=exact and turned.positions.off(head_dim) < TELLS)
