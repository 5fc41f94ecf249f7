"""Switches for the biases of queries, of keys and of values by themselves are told the same."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from torch import Tensor, nn

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
