"""One call of a subject that is not finished yet, against the formula.

Legend: B batch, T tokens.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor, nn

from properties.recognition.adapters import trials
from properties.recognition.adapters.draft import random_weights, trial_config
from properties.subjects.subject import CAUSAL_FAMILIES, Config
from properties.truth import oracle
from properties.truth.parameters import Sizes, Weights

if TYPE_CHECKING:
    from properties.recognition.adapters.torch_module import ModuleSubject


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

    def module(self) -> nn.Module:
        """A new module with the weights."""
        return self.subject.build(Config(self.sizes, dtype="float32"), self.weights)

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
