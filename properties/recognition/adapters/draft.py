"""What is known so far about a module that is being recognised, and what it is tried with."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from torch import nn

from properties.basics.dtypes import FORMATS
from properties.basics.errors import SubjectError
from properties.recognition.adapters import projections
from properties.recognition.adapters.blueprint import Blueprint
from properties.recognition.adapters.loading import Scheme
from properties.recognition.adapters.projections import Structure
from properties.recognition.adapters.spellings import LETTER
from properties.subjects.subject import HEADED_FAMILIES, Config
from properties.truth.parameters import Sizes, Weights


@dataclass
class Draft:
    """What is known so far about a subject."""

    family: str
    capabilities: set[str] = field(default_factory=set)
    matched: dict[str, str] = field(default_factory=dict)
    lacking: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    unasked: dict[str, str] = field(default_factory=dict)
    scheme: Scheme = field(default_factory=Scheme)
    residual: tuple[str, ...] = ()
    spare_biases: tuple[str, ...] = ()
    own_context: str = ""  # the argument of a context that is required: x itself for x alone

    def settle(self, capability: str, present: bool, reason: str) -> None:
        """Claim the capability, or say why it is absent."""
        if present:
            self.capabilities.add(capability)
        else:
            self.lacking[capability] = reason


def trial_config(blueprint: Blueprint, family: str) -> Config:
    """A request for a trial in this family."""
    sizes = blueprint.sizes(2 if family in HEADED_FAMILIES else 1)
    return Config(replace(sizes, head_dim=sizes.d_in) if family == "plain" else sizes)


def found_in(module: nn.Module, owner: str, projected: bool) -> Structure:
    """The matrices of a module of whatever size, the output projection only if it can be set."""
    structure = projections.find(module, owner)
    if structure is None:
        raise SubjectError(f"{owner} has its projections at some sizes and not at others")
    if projected or structure.out is None:
        return structure
    return replace(structure, cells={role: structure.cells[role] for role in LETTER})


def random_weights(sizes: Sizes) -> Weights:
    """Matrices of ordinary numbers that are exact in every format."""
    rng = np.random.default_rng(0)
    query, key, value, out = (
        FORMATS["bfloat16"].round(rng.normal(size=(sizes.d_in_of(role), sizes.width_of(role))))
        for role in (*LETTER, "out")
    )
    return Weights(query, key, value, out=out)
