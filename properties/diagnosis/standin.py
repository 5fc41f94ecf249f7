"""Whether a wrong formula explains that a clause failed: a subject that computes it is asked, too.

A formula that agrees with a subject on every example need not be why it breaks a given law: a wrong
scale does not change the number of parameters. So the clause is asked about a stand-in for the
subject, of the same family and with the same weights, that is right but for the wrong formula, on
the very case on which the subject failed:

    explains(name, clause, case) -> True    the stand-in breaks the clause there, too
                                    False   it does not: the clause failed for another reason
                                    None    unknown: nothing could be compared

`name` is one that `behaves_like` gave to this subject. None is the answer where a stand-in for
attention as it should be cannot pass: it computes in NumPy, so it has no gradient and cannot be
compiled.

Legend: B batch, T tokens, H heads, D head_dim, W = H * D.
"""

from __future__ import annotations

from dataclasses import fields, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from properties.assertions import Violation
from properties.case import Case, parameters
from properties.diagnosis.drawing import Chance
from properties.diagnosis.dropout import habits
from properties.diagnosis.examples import Example
from properties.diagnosis.explanation import RIGHT, Explanation
from properties.diagnosis.formula import Formula
from properties.diagnosis.match import explanations
from properties.dtypes import FORMATS, Array
from properties.errors import SubjectError
from properties.instance import to_array
from properties.spec import clauses
from properties.subject import Config, Subject, Weights

DRAWN = ("numerics/deterministic-in-eval", "state/forward-is-pure")
ALIVE = 64  # answers of right stand-ins that are kept: the failures of a run, each on its case


def names(clause: str, case: Case) -> list[str]:
    """What the subject behaves like, as far as that explains why it fails a clause on a case.

    Where that is unknown, a formula is told if the output of this very case is wrong, and so it.
    """
    told = [str(h) for h in habits(case) if breaks(h, clause, case)] if chance(clause) else []
    if "dropout" not in clause:
        for explanation in explanations(case):
            answer = breaks(explanation, clause, case)
            if answer or (answer is None and not Example(case).right):
                told.append(str(explanation))
    return list(dict.fromkeys(told))


def explains(name: str, clause: str, case: Case) -> bool | None:
    """Whether what the subject behaves like breaks this clause on this very case; None: unknown."""
    found = (*explanations(case), *habits(case))
    answers = [breaks(e, clause, case) for e in found if str(e) == name]
    if not answers or None in answers:
        return None
    return True in answers


def breaks(explanation: Explanation, clause: str, case: Case) -> bool | None:
    """Whether a stand-in breaks a clause that one for attention as it should be does not break."""
    if not case.known or passes(RIGHT, clause, case) is not True:
        return None
    passed = passes(explanation, clause, case)
    return None if passed is None else not passed


def chance(clause: str) -> bool:
    """Whether a clause may be broken by what is drawn."""
    return "dropout" in clause or clause in DRAWN


@lru_cache(maxsize=ALIVE)
def passes(explanation: Explanation, clause: str, case: Case) -> bool | None:
    """Whether a stand-in passes a clause on a case; None where it cannot be asked."""
    check = clauses()[clause].check
    try:
        check(replace(case, subject=StandIn(case.subject, explanation)))
    except (Violation, SubjectError):
        return False
    except Exception:  # a law that looks into the subject does not find there what it looks for
        return None
    return True


class StandIn(Subject):
    """A subject of the same kind that computes a formula."""

    def __init__(self, original: Subject, explanation: Explanation) -> None:
        self.name = f"{original.name}, if {explanation.formula.called}"
        self.family, self.dtypes = original.family, original.dtypes
        self.capabilities = original.capabilities
        self.explanation = explanation

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
