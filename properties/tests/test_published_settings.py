"""Names of settings as published models spell them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from properties.recognition.adapters.spellings import argument_role, misspelt_role
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
TAUGHT = {
    "d_in": "in_dims input_dims in_ch input_feature_dim",
    "d_out": "out_dims att_dim attn_size inner_size attn_inner_dim all_head_size",
    "embed": "n_embed hid_dim dim_embed n_feat num_hidden ninp n_hid embed_sz adim num_units",
    "head_dim": "d_h dh qk_dim head_hidden_size hidden_size_per_head kq_dim dim_of_head",
    "value_dim": "v_dim v_head_dim val_dim",
    "num_heads": "nheads aheads att_heads attn_head encoder_attention_heads num_multi_heads",
    "kv_heads": "num_key_value_groups n_key_value_heads kv_head_num heads_kv",
    "context_length": "max_seq maxlen block_sz max_sequence max_context_size max_text_len max_pos_len",
    "dropout": "attn_drop_rate prob_dropout dropout_proba attn_weight_dropout drop_ratio att_p",
    "qkv_bias": "use_bias_qkv bias_term with_biases attn_qkv_bias",
    "causal": "is_casual causal_attention mask_future",
}
NAMES = [(r, n) for kind in (PUBLISHED, TAUGHT) for r, names in kind.items() for n in names.split()]


@pytest.mark.parametrize(("role", "name"), NAMES)
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


class SpelledInALecture(nn.Module):
    """Each of its arguments is required."""

    scale = 0.5

    def __init__(self, n_feat: int, aheads: int, prob_dropout: float, bidirectional: bool) -> None:
        super().__init__()
        self.aheads, self.both = aheads, bidirectional
        self.linear_q, self.linear_k = nn.Linear(n_feat, n_feat), nn.Linear(n_feat, n_feat)
        self.linear_v, self.linear_out = nn.Linear(n_feat, n_feat), nn.Linear(n_feat, n_feat)
        self.dropout = nn.Dropout(prob_dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, n_feat) -> the same."""
        layers = (self.linear_q, self.linear_k, self.linear_v)
        q, k, v = (f(x).unflatten(-1, (self.aheads, -1)).transpose(1, 2) for f in layers)
        scores = q @ k.mT / q.shape[-1] ** self.scale
        if not self.both:
            past = torch.ones(scores.shape[-2:], dtype=torch.bool).tril()
            scores = scores.masked_fill(~past, -torch.inf)
        context = self.dropout(scores.softmax(-1)) @ v
        output: Tensor = self.linear_out(context.transpose(1, 2).flatten(2))
        return output


class SpelledInALectureAndUnscaled(SpelledInALecture):
    """Wrong: by the width, not its root."""

    scale = 1.0


SPELT = ["oracle", "argument", "causality", "weights"]


def test_arguments_as_lectures_spell_them_are_understood() -> None:
    """One that says the opposite of a known name is told the opposite."""
    asked = find_one(SpelledInALecture)
    assert (asked.family, asked.matched["both_ways"]) == ("multihead", "bidirectional")
    assert run(asked, profile="quick", only=SPELT).failed == []


def test_what_is_wrong_beside_such_arguments_is_told() -> None:
    assert run(find_one(SpelledInALectureAndUnscaled), profile="quick", only=SPELT).failed != []


def test_attention_in_both_directions_is_told_so_by_its_argument() -> None:
    asked = find_one(SpelledInALecture, "encoder")
    assert run(asked, profile="quick", only=SPELT).failed == []


def test_what_is_kept_is_no_misspelling_of_what_is_dropped() -> None:
    assert misspelt_role("attention_dropout_keep") is None
