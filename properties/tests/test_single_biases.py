"""Switches for the biases of queries, of keys and of values by themselves are told the same."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from torch import Tensor, nn
from torch.nn import functional as F

from properties import check
from properties.recognition.targets import find_one
from properties.runs.runner import run
from properties.zoo.rights.common import SplitHeads, attend

ASKED = ["shape/parameter-shapes-and-count", "oracle/output-within-bound"]


class SwitchedByConfig(SplitHeads):
    """One setting for each."""

    def __init__(self, config: SimpleNamespace) -> None:
        width = config.hidden_size
        super().__init__(width, width, 64, 0.0, config.num_heads)
        self.W_query = nn.Linear(width, width, bias=config.query_bias)
        self.W_key = nn.Linear(width, width, bias=config.key_bias)
        self.W_value = nn.Linear(width, width, bias=self.of_values(config))

    def of_values(self, config: SimpleNamespace) -> bool:
        """Whether values have one."""
        return bool(config.value_bias)

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        return attend(queries, keys, values, self.dropout)


class AlwaysOfValues(SwitchedByConfig):
    """The setting has no effect."""

    def of_values(self, config: SimpleNamespace) -> bool:
        return config.value_bias is not None


class SwitchedByArguments(SwitchedByConfig):
    """The same without a config."""

    def __init__(
        self,
        d_model: int,
        num_heads: int,
        q_bias: bool = True,
        k_bias: bool = False,
        v_bias: bool = True,
    ) -> None:
        super().__init__(
            SimpleNamespace(
                hidden_size=d_model,
                num_heads=num_heads,
                query_bias=q_bias,
                key_bias=k_bias,
                value_bias=v_bias,
            )
        )


@pytest.mark.parametrize("target", [SwitchedByConfig, SwitchedByArguments])
def test_three_switches_are_one(target: type[nn.Module]) -> None:
    subject = find_one(target)
    assert subject.has("qkv-bias")
    assert run(subject, profile="quick", only=ASKED).failed == []


def test_a_switch_without_effect_is_told() -> None:
    assert ASKED[0] in run(find_one(AlwaysOfValues), profile="quick", only=ASKED).failed


class OfAllLayers(nn.Module):
    """Biases of all layers by one switch, and of queries, keys and values alone by another."""

    power = -0.5

    def __init__(
        self, d_model: int, num_heads: int, bias: bool = True, attn_bias: bool = False
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(d_model, 3 * d_model, bias=bias or attn_bias)
        self.proj = nn.Linear(d_model, d_model, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        heads = self.qkv(x).unflatten(-1, (3, self.num_heads, -1))
        q, k, v = (part.transpose(-3, -2) for part in heads.unbind(-3))
        context = F.scaled_dot_product_attention(q, k, v, scale=q.shape[-1] ** self.power)
        joined: Tensor = self.proj(context.transpose(-3, -2).flatten(-2))
        return joined


class OfAllLayersScaledTwice(OfAllLayers):
    """1 / head_dim."""

    power = -1.0


def test_the_switch_of_all_layers_is_off_beside_that_of_attention() -> None:
    """Whatever its default is; nothing is held against biases that it would have made."""
    laws = ["shape", "weights", "projection"]
    right = check(OfAllLayers, profile="quick", only=laws)
    assert right.failed == []
    wrong = check(OfAllLayersScaledTwice, profile="quick", only=laws)
    assert wrong.findings[0].name.startswith("scale 1/head_dim")
