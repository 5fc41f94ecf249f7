"""What one call of a subject that is not finished yet tells, held against the formula: its scale, its
positions, and what it has beyond the definition.

Legend: B batch, T tokens.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from torch import Tensor, nn

from properties.recognition.adapters import (
    another,
    calls,
    extras,
    idle,
    low_rank,
    places,
    projections,
    trials,
)
from properties.recognition.adapters.draft import random_weights, trial_config
from properties.recognition.adapters.gates import parameters_of
from properties.recognition.adapters.module_subject import ModuleSubject
from properties.recognition.turning import finding as turning
from properties.subjects.limits import Limits
from properties.subjects.positions import Positions
from properties.subjects.subject import CAUSAL_FAMILIES, JOINED_FAMILIES, Config
from properties.truth import oracle
from properties.truth.parameters import Sizes, Weights

SLOPES = "what is taken from the scores for each token further back"
OF_T5 = re.compile(r"(^|\.)relative_attention_bias\b")
FACTOR = re.compile(
    r"(rope_|rotary_|ntk_)?scal(ing|e)_?factor|rope_scaling"
)  # beside rotary positions
SCALE = re.compile(r"_?((softmax|attn|attention|score)_)?scal(e|ing)(_factor)?")  # of the scores

OF_QUERIES = re.compile(
    r"(^|[._])(q|k|qk|query|key)s?_?(norm|ln)|norm_?(q|k|qk|query|key)(_|$)", re.IGNORECASE
)


@dataclass(frozen=True)
class Probe:
    """A call of a subject with ordinary weights, for the formula to be compared with."""

    subject: ModuleSubject
    sizes: Sizes

    @classmethod
    def of(cls, subject: ModuleSubject) -> Probe:
        """One that is large enough for the positions of the subject."""
        sizes = trial_config(subject.blueprint, subject.family).sizes
        sizes = replace(sizes, head_dim=subject.limits.head_dim(sizes.head_dim))
        return cls(subject, replace(sizes, d_in=sizes.width) if subject.blueprint.square else sizes)

    @cached_property
    def weights(self) -> Weights:
        """Ordinary numbers."""
        return random_weights(self.sizes)

    @cached_property
    def x(self) -> Tensor:
        """Ordinary tokens (B, T, d_in)."""
        return trials.random_input(self.sizes.batch, self.sizes.tokens, self.sizes.d_in)

    def module(self, zeros: tuple[str, ...] = ()) -> nn.Module:
        """A new module with the weights, those of some roles zero."""
        none = {role: 0.0 * getattr(self.weights, role) for role in zeros}
        weights = replace(self.weights, **none)
        return self.subject.build(Config(self.sizes, dtype="float32"), weights)

    def output(self, module: nn.Module) -> Tensor | None:
        """What a module gives."""
        return trials.run(module, self.x).output

    def right(self, module: nn.Module, scaled: bool = True) -> bool:
        """Whether a module gives what the formula gives."""
        output, positions = self.output(module), self.subject.positions
        expected = oracle.attention(
            self.x.double().numpy(),
            self.weights,
            heads=self.sizes.heads,
            causal=self.subject.family in CAUSAL_FAMILIES,
            scaled=scaled,
            positions=None if positions is None else positions.rotary(self.sizes.tokens),
        ).output
        return (
            output is not None
            and output.shape == expected.shape
            and np.allclose(output.double().numpy(), expected, atol=1e-3)
        )


def offer_extras(finished: ModuleSubject, module: nn.Module) -> None:
    """Fill the parameters that attention as defined has not so that nothing of them is left."""
    structure = projections.find(module, finished.blueprint.owner)
    if structure is None or not finished.has("projections"):
        leave_places(finished, module)
        return
    probe = Probe.of(finished)

    def build(fills: extras.Fills) -> nn.Module:
        finished.extras = fills
        return probe.module()

    gates = dict.fromkeys(parameters_of(module, finished.blueprint.gates))
    names = [name for name in projections.left_over(module, structure) if name not in gates]
    added = low_rank.additions(names, structure.cells, probe.module, probe.output)
    names = [name for name in names if name not in added]
    waiting = idle.waiting_for(names, probe.module, probe.x, probe.sizes)
    names = [name for name in names if name not in waiting]
    slopes = extras.slopes_in(module)
    unknown = [name for name in names if not extras.kind_of(name)]
    zero = [*slopes, *places.tables(unknown, probe.module, probe.x)]
    mixed = {**extras.mixing(module, probe.sizes.heads), **dict.fromkeys(zero, 0.0)}
    if not all(name in mixed or extras.kind_of(name) for name in names):
        names = []
    names += slopes
    finished.extras = extras.without_effect(names, mixed, build, probe.right, probe.output)
    called = (name for name in finished.extras if extras.SLOPES.search(name.lower()))
    finished.slopes = tuple(dict.fromkeys((*called, *(n for n in slopes if n in finished.extras))))
    text = "a parameter that attention as defined has not"
    told = {
        name: f"{SLOPES if name in slopes else text}: {extras.WORDS[number]}"
        for name, number in finished.extras.items()
    }
    told |= {name: idle.WORDS.format(argument) for name, argument in waiting.items()}
    told |= dict.fromkeys(added, low_rank.WORDS)
    finished.extras = {**finished.extras, **gates, **dict.fromkeys((*waiting, *added))}
    if finished.extras:
        finished.notes = tuple(n for n in finished.notes if not n.startswith("left as constructed"))
    if name := next(filter(OF_T5.search, finished.extras), ""):
        offer_none(finished, f"{name} is there, as in T5")
    finished.unasked = {**finished.unasked, **told}


def leave_places(finished: ModuleSubject, module: nn.Module) -> None:
    """Say of relative positions that they stay as they are built, where no weights can be set."""
    named = (name for name, _ in module.named_parameters() if extras.PLACES.search(name))
    if names := (*named, *extras.slopes_in(module)):
        finished.capabilities |= {"unknown places"}
        told = "it is as initialised, and what the order of tokens does is not asked"
        finished.unasked = {**finished.unasked, **dict.fromkeys(names, told)}


def offer_scale(finished: ModuleSubject, module: nn.Module) -> None:
    """Say that scores are not scaled, where the module keeps a scale of one, or had a norm of queries and
    keys, which may hold the factor, and a call agrees.
    """
    held = (vars(part).items() for part in calls.inside(module).modules())
    kept = {n: v for each in held for n, v in each if SCALE.fullmatch(n.lower())}
    name = next(
        (n for n, value in kept.items() if isinstance(value, int | float) and value == 1), ""
    )
    norms = [path for path in finished.blueprint.taken_out if OF_QUERIES.search(path)]
    if name:
        offer_none(finished, f"{name} is 1")
    elif norms:
        offer_none(finished, f"{norms[0]}, which is taken out, may hold the factor")


def offer_none(finished: ModuleSubject, sign: str) -> None:
    """Say that scores are not scaled, where a call agrees with a sign of it."""
    if not finished.has("projections") or finished.family not in JOINED_FAMILIES:
        return
    probe = Probe.of(finished)
    finished.scaled = not probe.right(probe.module(), scaled=False)
    if not finished.scaled:
        finished.notes += (f"scores are not scaled: {sign}, and a call agrees",)
        # How exact angles are was tried with scores that are scaled.
        if finished.positions is not None:
            finished.positions = turning.precise(finished, finished.positions)


def require_attention(finished: ModuleSubject) -> None:
    """QuestionError where a class is called after another function, and a call does not give attention."""
    said = another.said(finished.blueprint.owner)
    if not said or finished.family not in JOINED_FAMILIES:
        return
    if finished.has("projections"):
        probe = Probe.of(finished)
        if any(probe.right(probe.module(), scaled) for scaled in (True, False)):
            return
    raise another.is_another(finished.blueprint, said, finished.family)


def offer_positions(finished: ModuleSubject, module: nn.Module) -> None:
    """Say by which positions queries and keys are turned, and that head_dim is a number of pairs."""
    given = turning.defaults(finished.blueprint.target)
    positions = turning.found(finished, finished.build, module, given)
    if positions is None or not positions.known:
        positions = by_other_angles(finished, module, given) or positions
    if (positions is None or not positions.known) and by_several_axes(finished):
        return
    if finished.blueprint.handed:  # angles of pairs, whatever becomes of them
        finished.limits |= Limits(head_dims=2)
    if positions is not None:
        finished.positions = positions
        finished.limits |= Limits(head_dims=positions.multiple)
        text = "positions, how fast they go by: it keeps its default"
        scaling = [name for name in finished.unasked if FACTOR.fullmatch(name.rpartition(".")[2])]
        finished.unasked = {**finished.unasked, **dict.fromkeys(scaling, text)}


def by_other_angles(
    finished: ModuleSubject, module: nn.Module, given: Mapping[str, Any]
) -> Positions | None:
    """The known convention that is followed where angles are handed over in another form that runs, for
    pairs of neighbours, or for a part of each head; None where none is.
    """
    before, notes = finished.blueprint, finished.notes
    for handed in before.handed.others() if before.handed else ():
        finished.blueprint = replace(before, handed=handed)
        found = turning.found(finished, finished.build, module, given)
        if found is not None and found.known:
            return found
        finished.notes = notes
    finished.blueprint = before
    return None


def by_several_axes(finished: ModuleSubject) -> bool:
    """Whether the angles that are handed over are those of places on several axes, each for its own columns
    of a head: then all tokens may stand one place further on each axis, and the output stays. How tokens
    stand on several axes is not asked: every one stands at 0.
    """
    before = finished.blueprint
    for handed in before.handed.on_axes() if before.handed else ():
        several = Limits(head_dims=2 * handed.axes)
        # Three heads: no number of columns is equal to theirs, and taken for it.
        sizes = replace(Probe.of(finished).sizes, heads=3, head_dim=2 * several.head_dims)
        probe = Probe(finished, replace(sizes, d_in=sizes.width) if before.square else sizes)
        outputs = []
        for way in (handed, replace(handed, first=3), replace(handed, still=True)):
            finished.blueprint = replace(before, handed=way)
            outputs.append(probe.output(probe.module()))
        here, further, still = outputs
        if here is None or further is None or still is None:
            continue
        if trials.same(here, further) and not trials.same(here, still):
            text = (
                f"positions on {handed.axes} axes: every token stands at 0, where nothing is turned"
            )
            finished.unasked = {**finished.unasked, **dict.fromkeys(handed.roles, text)}
            finished.limits |= several
            unknown = "not asked: whether positions turn"
            told = (n for n in finished.notes if not n.startswith((unknown, "forward is handed")))
            finished.notes = tuple(told)
            return True
    finished.blueprint = before
    return False
