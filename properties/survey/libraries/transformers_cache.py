"""transformers with its cache: one layer, called as its model calls it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from properties.survey.lines import Line

WAYS = ("eager", "sdpa")
LINES = tuple(
    Line("transformers", f"{name}, {way}, with its cache", f"{__name__}:{of}_{way}")
    for name, of in (("GPT2Attention", "gpt2"), ("LlamaAttention", "llama"))
    for way in WAYS
)
Cache = dict[str, Any]


class AsInItsModel(nn.Module):
    """A layer with the causal mask and the cache that its model would hand to it.

    The model makes the mask from what the cache holds already; a layer without it sees the future, or
    hides by its flag, which lies wrong beside a past.
    """

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def called(self, x: Tensor, cache: Cache | None, **told: Any) -> Tensor:
        """The output for x (B, T, W). cache: holds the library's own, which the call fills."""
        from transformers.cache_utils import DynamicCache
        from transformers.masking_utils import create_causal_mask

        kept = None if cache is None else cache.setdefault("kept", DynamicCache())
        seen = 0 if kept is None else kept.get_seq_length()
        places = torch.arange(x.shape[1])[None] + seen
        mask = create_causal_mask(self.layer.config, x, None, kept, places)
        output: Tensor = self.layer(x, cache=kept, attention_mask=mask, **told)[0]
        return output


class Llama(AsInItsModel):
    """With the angles of its positions."""

    def forward(self, x: Tensor, position_embeddings: Any, cache: Cache | None = None) -> Tensor:
        """Map (B, T, W) to the same."""
        return self.called(x, cache, position_embeddings=position_embeddings)


class GPT2(AsInItsModel):
    """Without positions."""

    def forward(self, x: Tensor, cache: Cache | None = None) -> Tensor:
        """Map (B, T, W) to the same."""
        return self.called(x, cache)


def llama(way: str) -> Callable[..., Llama]:
    """Layers that compute in this way."""

    def attention(
        hidden_size: int,
        num_attention_heads: int,
        num_key_value_heads: int,
        attention_bias: bool = False,
        attention_dropout: float = 0.0,
    ) -> Llama:
        from transformers.models.llama.configuration_llama import LlamaConfig
        from transformers.models.llama.modeling_llama import LlamaAttention

        config = LlamaConfig(
            hidden_size=hidden_size,
            num_attention_heads=num_attention_heads,
            num_key_value_heads=num_key_value_heads,
            attention_bias=attention_bias,
            attention_dropout=attention_dropout,
            attn_implementation=way,
        )
        return Llama(LlamaAttention(config, layer_idx=0))

    return attention


def gpt2(way: str) -> Callable[..., GPT2]:
    """The same."""

    def attention(n_embd: int, n_head: int, attn_pdrop: float = 0.0) -> GPT2:
        from transformers.models.gpt2.configuration_gpt2 import GPT2Config
        from transformers.models.gpt2.modeling_gpt2 import GPT2Attention

        config = GPT2Config(
            n_embd=n_embd,
            n_head=n_head,
            attn_pdrop=attn_pdrop,
            resid_pdrop=0.0,
            attn_implementation=way,
        )
        return GPT2(GPT2Attention(config, layer_idx=0))

    return attention


llama_eager, llama_sdpa = map(llama, WAYS)
gpt2_eager, gpt2_sdpa = map(gpt2, WAYS)
