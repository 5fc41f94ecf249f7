"""Names of settings as published models spell them."""

from __future__ import annotations

from typing import Any

import pytest
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from properties.recognition.adapters.spellings import argument_role
from properties.recognition.targets import find_one
from properties.runs.runner import run

PUBLISHED = {
    "head_dim": "kv_channels head_size attention_head_dim attention_head_size dim_head kv_head_dim",
    "num_heads": "num_attention_heads num_query_heads n_head_q n_heads attention_head_count",
    "kv_heads": "num_query_groups n_head_kv num_key_value_heads multi_query_group_num kv_n_heads",
    "embed": "hidden_size n_embd d_model hidden_dim transformer_dim",
    "dropout": "attention_dropout attn_pdrop attention_softmax_dropout attn_drop_prob att_pdrop",
    "context_length": "n_ctx n_positions max_position_embeddings max_target_positions max_position",
    "rotary_dim": "rotary_dim rotary_ndims rotary_emb_dim",
}


@pytest.mark.parametrize(
    ("role", "name"), [(role, name) for role, names in PUBLISHED.items() for name in names.split()]
)
def test_a_published_name_has_its_meaning(role: str, name: str) -> None:
    assert argument_role(name) == role


class Grouped(nn.Module):
    """Heads of a width of their own, of which some read one head of keys."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.hidden, self.heads, self.groups, self.width = self.sizes(config)
        self.query = nn.Linear(self.hidden, self.heads * self.width, bias=False)
        self.key = nn.Linear(self.hidden, self.groups * self.width, bias=False)
        self.value = nn.Linear(self.hidden, self.groups * self.width, bias=False)
        self.dense = nn.Linear(self.heads * self.width, self.hidden, bias=False)

    def sizes(self, config: Any) -> tuple[int, int, int, int]:
        return (
            config.hidden_size,
            config.num_attention_heads,
            config.num_query_groups,
            config.kv_channels,
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, hidden_size) -> the same."""
        q, k, v = (
            layer(x).unflatten(-1, (-1, self.width)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        k, v = self.spread(k), self.spread(v)
        context = scaled_dot_product_attention(q, k, v, is_causal=True)
        output: Tensor = self.dense(context.transpose(1, 2).flatten(2))
        return output

    def spread(self, heads: Tensor) -> Tensor:
        """A copy of each head for those that read it."""
        return heads.repeat_interleave(self.heads // self.groups, dim=1)


class SpelledOtherwise(Grouped):
    def sizes(self, config: Any) -> tuple[int, int, int, int]:
        return config.hidden_size, config.n_head, config.n_head_kv, config.attention_head_dim


class Dealt(Grouped):
    """Wrong: the heads of keys are dealt out in turn."""

    def spread(self, heads: Tensor) -> Tensor:
        return heads.repeat(1, self.heads // self.groups, 1, 1)


@pytest.mark.parametrize("target", [Grouped, SpelledOtherwise])
def test_settings_of_heads_that_share_keys_are_understood(target: type[nn.Module]) -> None:
    """Their number, that of the heads that are read, and their width."""
    asked = find_one(target)
    assert {"groups", "own-head-dim", "projections"} <= asked.capabilities
    assert run(asked, profile="quick", only=["oracle", "groups"]).failed == []


def test_heads_of_keys_that_are_dealt_out_in_turn_are_told() -> None:
    assert run(find_one(Dealt), profile="quick", only=["groups"]).failed != []
