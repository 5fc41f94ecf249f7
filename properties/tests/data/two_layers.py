"""Causal attention whose projections are two linear layers, one after the other, and wrong ones."""

from __future__ import annotations

from torch import nn

from properties.tests.data.low_rank import LoraAttention


class Two(nn.Sequential):
    """Two layers, each with a bias."""

    def __init__(self, d_in: int, d_out: int) -> None:
        super().__init__(nn.Linear(d_in, d_in), nn.Dropout(0.0), nn.Linear(d_in, d_out))


class Bent(nn.Sequential):
    """Two layers with something between that is not linear."""

    def __init__(self, d_in: int, d_out: int) -> None:
        super().__init__(nn.Linear(d_in, d_in), nn.Tanh(), nn.Linear(d_in, d_out))


class TwoLayersAttention(LoraAttention):
    layer = Two


class BentAttention(LoraAttention):
    layer = Bent


class TwoLayersOffByOne(TwoLayersAttention):
    diagonal = 2


class QueriesOfTheFirstLayer(TwoLayersAttention):
    """Wrong: queries are what the first of their layers gives."""

    def __init__(self, d_model: int, num_heads: int) -> None:
        super().__init__(d_model, num_heads)
        self.q_proj.forward = self.q_proj[0].forward
