"""torch.nn.MultiheadAttention: the path that training takes, and the faster one of evaluation."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from properties.recognition.adapters.torch_multihead import CausalMultihead, TorchMultihead
from properties.recognition.asking.modules import ModuleManner
from properties.subjects.subject import Config
from properties.survey.lines import Line
from properties.truth.parameters import Weights

LINES = (
    Line("torch", "MultiheadAttention, slow path", f"{__name__}:Slow"),
    Line("torch", "MultiheadAttention, fast path", f"{__name__}:Fast"),
)


class OnTheSlowPath(CausalMultihead):
    """The faster path is switched off while it runs."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, T, W) to (B, T, W)."""
        before = torch.backends.mha.get_fastpath_enabled()
        torch.backends.mha.set_fastpath_enabled(False)
        try:
            return super().forward(x)
        finally:
            torch.backends.mha.set_fastpath_enabled(before)


class Slow(TorchMultihead):
    """Every call by the path that records gradients."""

    name = "torch.nn.MultiheadAttention, slow path"

    def build(self, config: Config, weights: Weights | None) -> CausalMultihead:
        """The module on the slow path."""
        return OnTheSlowPath(super().build(config, weights).attention)


class Fast(TorchMultihead):
    """No gradient is recorded where none is asked for, so that it is taken where it can be."""

    name = "torch.nn.MultiheadAttention, fast path"

    @property
    def manner(self) -> ModuleManner:
        """The same without gradients recorded."""
        return replace(super().manner, recording=False)
