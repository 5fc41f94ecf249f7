"""Config classes that refuse to say what differs by layer, and that have two names for one width."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from torch import Tensor

from properties.recognition.targets import find_one
from properties.runs.runner import run
from properties.zoo.rights.common import SplitHeads, attend

ASKED = ["shape/output-shape", "oracle/output-within-bound", "heads/split-equals-per-head-matmul"]


class LayeredConfig:
    """How many heads of keys there are is told for all layers, and not said for all."""

    def __init__(
        self,
        hidden_size: int = 64,
        embedding_size: int = 64,
        num_attention_heads: int = 8,
        num_key_value_heads: int = 8,
    ) -> None:
        self.hidden_size, self.embedding_size = hidden_size, embedding_size
        self.num_attention_heads = num_attention_heads
        self.layers = [SimpleNamespace(groups=num_key_value_heads)]

    @property
    def num_key_value_heads(self) -> int:
        """None for all layers."""
        raise RuntimeError("num_key_value_heads may vary across layers")


class LayeredAttention(SplitHeads):
    """Its width is that of tokens and of embeddings."""

    def __init__(self, config: LayeredConfig, layer_idx: int = 0) -> None:
        super().__init__(
            config.hidden_size, config.embedding_size, 64, 0.0, config.num_attention_heads
        )

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        return attend(queries, keys, values, self.dropout)


class OfTheNextHead(LayeredAttention):
    """Values of other heads."""

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Any:
        return super().attend(queries, keys, values.roll(1, 1))


def test_what_a_config_refuses_to_say_is_told_in_its_constructor() -> None:
    assert run(find_one(LayeredAttention), profile="quick", only=ASKED).failed == []
    assert run(find_one(OfTheNextHead), profile="quick", only=ASKED).failed
