"""A formula as a subject: it is built, called and judged like any implementation.

It computes in NumPy, so it has no gradients and cannot be compiled; in all else a stand-in for
attention as it should be breaks no law.

Legend: B batch, T tokens, H heads, D head_dim, W = H * D.
"""

from __future__ import annotations

from dataclasses import fields, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from properties.basics.dtypes import FORMATS, Array
from properties.cases.case import Case, parameters
from properties.findings.names import instead
from properties.findings.names.drawing import Chance
from properties.findings.names.examples import Example
from properties.findings.names.explanation import RIGHT, Explanation
from properties.findings.names.formula import Formula
from properties.spec.clause import clauses
from properties.subjects.instance import to_array
from properties.subjects.subject import Config, Subject
from properties.truth.parameters import Weights

ALIVE = 64  # answers that are kept: of the failures of a run, each on its case


def passes(explanation: Explanation, clause: str, case: Case) -> bool | None:
    """Whether a stand-in passes a clause on a case; None where it cannot be asked."""
    return judged(explanation, clause, case)[0]


def asked(clause: str, case: Case) -> list[Case]:
    """The cases that a clause asks a subject in eval mode for the sake of one, itself left out."""
    passed, seen = judged(RIGHT, clause, case)
    return [replace(other, subject=case.subject) for other in seen] if passed else []


@lru_cache(maxsize=ALIVE)
def judged(explanation: Explanation, clause: str, case: Case) -> tuple[bool | None, list[Case]]:
    """Whether a stand-in passes, and what it was asked."""
    subject = StandIn(case.subject, explanation)
    if clauses()[clause].since == "thorough":  # too long for NumPy, which keeps every step
        return None, []
    return instead.passes(clause, case, subject), subject.asked


class StandIn(Subject):
    """A subject of the same kind that computes a formula."""

    def __init__(self, original: Subject, explanation: Explanation) -> None:
        self.name = f"{original.name}, if {explanation.formula.called}"
        self.family, self.dtypes = original.family, original.dtypes
        self.capabilities, self.positions = original.capabilities, original.positions
        self.explanation, self.limits = explanation, original.limits
        self.asked: list[Case] = []  # in eval mode

    def build(self, config: Config, weights: Weights | None) -> nn.Module:
        """A module with our own parameters, in our own layout."""
        if config.odd:
            raise ValueError(f"d_out {config.width} is not divisible by {config.sizes.heads}")
        if not 0.0 <= config.dropout <= 1.0:
            raise ValueError(f"dropout {config.dropout} is not between 0 and 1")
        return Computed(self, config, weights).to(getattr(torch, config.dtype))

    def collect(self, named: Any, config: Config) -> Weights | None:
        """The parameters have our names."""
        kept = {field.name: named[field.name] for field in fields(Weights) if field.name in named}
        return Weights(**kept) if kept else None


class Computed(nn.Module):
    """A formula as a module."""

    def __init__(self, subject: StandIn, config: Config, weights: Weights | None) -> None:
        super().__init__()
        self.subject, self.config, self.chance = subject, config, Chance(config.dropout)
        for name, array in parameters(weights).items():
            setattr(self, name, nn.Parameter(torch.tensor(array)))

    def forward(self, x: Tensor) -> Tensor:
        """([B,] T, d_in) -> ([B,] T, W)."""
        s = self.config.sizes
        ranks = {"batched": 3, "unbatched": 2}
        taken = [rank for kind, rank in ranks.items() if self.subject.has(kind)]
        if x.dim() not in taken or x.shape[-1] != s.d_in:
            raise ValueError(f"input {tuple(x.shape)}: expected ([B,] T, {s.d_in})")
        if self.subject.has("context-length") and x.shape[-2] > s.context_length:
            raise ValueError(f"{x.shape[-2]} tokens: at most {s.context_length} fit")
        case = self.case(to_array(x if x.dim() == 3 else x[None]))
        self.chance.modes.append(self.training)
        if not self.training:
            self.subject.asked.append(case)
        with np.errstate(all="ignore"):
            output = self.formula(case)(case, FORMATS[case.dtype], chance=self.chance).output()
        result = torch.from_numpy(output.value).to(x.dtype)
        return result if x.dim() == 3 else result[0]

    def case(self, x: Array) -> Case:
        """What is computed: this input (B, T, d_in) with the parameters as they are now."""
        named = {name: to_array(parameter) for name, parameter in self.named_parameters()}
        c = self.config
        s = replace(c.sizes, batch=len(x), tokens=x.shape[1])
        weights = Weights(**named) if named else None
        return Case(self.subject, s, c.dtype, x, x, weights, c.bias, c.dropout, 0, c.seed)

    def formula(self, case: Case) -> type[Formula]:
        """The wrong formula where its condition holds, else the right one."""
        explanation = self.subject.explanation
        holds = explanation.holds(Example(case, training=self.training))
        return explanation.formula if holds else Formula
