"""Attention that takes one object with all settings, as public code writes it; wrong ones at the end."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import nn
from torch.nn import functional


class CausalSelfAttention(nn.Module):
    """Three matrices in one, and one probability for both dropouts."""

    def __init__(self, config):
        super().__init__()
        assert config.n_embd % config.n_head == 0
        self.c_attn = nn.Linear(config.n_embd, 3 * config.n_embd, bias=config.bias)
        self.c_proj = nn.Linear(config.n_embd, config.n_embd, bias=config.bias)
        self.attn_dropout = nn.Dropout(config.dropout)
        self.resid_dropout = nn.Dropout(config.dropout)
        self.n_head, self.n_embd, self.dropout = config.n_head, config.n_embd, config.dropout
        self.fast = getattr(config, "flash", True)
        ones = torch.ones(config.block_size, config.block_size)
        self.register_buffer("tril", torch.tril(ones).view(1, 1, *ones.shape))

    def forward(self, x):
        B, T, C = x.size()
        q, k, v = (
            part.view(B, T, self.n_head, C // self.n_head).transpose(1, 2)
            for part in self.c_attn(x).split(self.n_embd, dim=2)
        )
        if self.fast:
            p = self.dropout if self.training else 0
            y = functional.scaled_dot_product_attention(q, k, v, dropout_p=p, is_causal=True)
        else:
            att = (q @ k.transpose(-2, -1)) * self.scale(k)
            att = att.masked_fill(self.tril[:, :, :T, :T] == 0, float("-inf"))
            y = self.attn_dropout(functional.softmax(att, dim=-1)) @ v
        return self.resid_dropout(self.c_proj(y.transpose(1, 2).contiguous().view(B, T, C)))

    def scale(self, k):
        return 1.0 / math.sqrt(k.size(-1))


@dataclass(frozen=True)
class Shape:
    """Of the class below; the vocabulary is nothing to attention."""

    vocab_size: int
    dim: int
    n_heads: int
    n_layers: int = 6
    hidden_dim: int = 3072
    max_seq_len: int = 1024
    attn_dropout: float = 0.1
    resid_dropout: float = 0.1
    bias: bool = False
    eps: float = 1e-5

    @property
    def head_dim(self):
        return self.dim // self.n_heads


class AnnotatedAttention(CausalSelfAttention):
    """Reads a property, and keeps the object."""

    def __init__(self, config: Shape, layer_idx: int):
        nn.Module.__init__(self)
        assert isinstance(config, Shape)
        self.config, self.layer = config, layer_idx + 1
        self.wqkv = nn.Linear(config.dim, 3 * config.n_heads * config.head_dim, bias=config.bias)
        self.wo = nn.Linear(config.n_heads * config.head_dim, config.dim, bias=config.bias)
        self.drop = nn.Dropout(config.attn_dropout)
        self.out_drop = nn.Dropout(config.resid_dropout)

    def forward(self, x):
        B, T, _ = x.shape
        q, k, v = (
            part.view(B, T, self.config.n_heads, self.config.head_dim).transpose(1, 2)
            for part in self.wqkv(x).chunk(3, dim=-1)
        )
        hidden = torch.ones(T, T, dtype=torch.bool, device=x.device).triu(1)
        scores = (q @ k.mT * self.scale(k)).masked_fill(hidden, -torch.inf)
        return self.out_drop(
            self.wo((self.drop(scores.softmax(-1)) @ v).transpose(1, 2).flatten(2))
        )


@dataclass
class Part:
    heads: int = 8
    dropout: float = 0.0


@dataclass
class NestedConfig:
    dim: int = 512
    context_length: int = 64
    attention: Part = field(default_factory=Part)


class NestedAttention(AnnotatedAttention):
    """Found in the module: the class whose object has all that is read."""

    def __init__(self, config):
        part, dim = config.attention, config.dim
        super().__init__(Shape(1, dim, part.heads, attn_dropout=part.dropout, resid_dropout=0.0), 0)
        self.context_length = config.context_length


@dataclass
class TurningConfig:
    dim: int = 512
    heads: int = 8
    turning: dict = field(default_factory=lambda: {"share": 0.5})
    kernel: str = "eager"


class DefaultedAttention(AnnotatedAttention):
    """Asks a dict inside for what it may lack, and forward for what no constructor has read."""

    def __init__(self, config):
        super().__init__(Shape(1, config.dim, config.heads, 0, 0, 64, 0.0, 0.0), 0)
        self.settings = config
        self.share = config.turning.get("share", 1.0)

    def forward(self, x):
        assert self.settings.kernel == "eager"
        return super().forward(x)


class DictAttention(nn.Module):
    """Reads keys."""

    def __init__(self, cfg):
        super().__init__()
        width = cfg["emb_dim"]
        self.num_heads, self.cfg = cfg["n_heads"], cfg
        self.W_query = nn.Linear(width, width, bias=cfg["qkv_bias"])
        self.W_key = nn.Linear(width, width, bias=cfg["qkv_bias"])
        self.W_value = nn.Linear(width, width, bias=cfg["qkv_bias"])
        self.out_proj = nn.Linear(width, width)
        self.dropout = nn.Dropout(cfg.get("drop_rate", 0.1))
        ones = torch.ones(cfg["context_length"], cfg["context_length"])
        self.register_buffer("mask", torch.triu(ones, diagonal=1))

    def forward(self, x):
        b, t, c = x.shape
        q, k, v = (
            layer(x).view(b, t, self.cfg["n_heads"], c // self.num_heads).transpose(1, 2)
            for layer in (self.W_query, self.W_key, self.W_value)
        )
        scores = (q @ k.mT).masked_fill(self.mask.bool()[:t, :t], -torch.inf)
        weights = self.dropout(torch.softmax(scores * self.factor(k), dim=-1))
        return self.out_proj((weights @ v).transpose(1, 2).reshape(b, t, c))

    def factor(self, k):
        return k.shape[-1] ** -0.5


class EncoderSelfAttention(nn.Module):
    """Has names for what others do, and asks whether they are there."""

    def __init__(self, config):
        super().__init__()
        wide = config.hidden_size % config.num_attention_heads
        if wide != 0 and not hasattr(config, "embedding_size"):
            raise ValueError(f"{config.hidden_size} over {config.num_attention_heads} heads")
        self.heads = config.num_attention_heads
        self.head_size = config.hidden_size // config.num_attention_heads
        self.query = nn.Linear(config.hidden_size, config.hidden_size)
        self.key = nn.Linear(config.hidden_size, config.hidden_size)
        self.value = nn.Linear(config.hidden_size, config.hidden_size)
        self.dropout = nn.Dropout(config.attention_probs_dropout_prob)

    def forward(self, hidden_states):
        q, k, v = (
            layer(hidden_states).unflatten(2, (self.heads, self.head_size)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        scores = q @ k.transpose(-1, -2) / math.sqrt(self.head_size)
        return (self.dropout(scores.softmax(-1)) @ v).transpose(1, 2).flatten(2)


class SwitchedAttention(DictAttention):
    """Two settings of either of whose values will do."""

    def __init__(self, cfg, mask_as_buffer):
        super().__init__(cfg)
        self.verbose = cfg["verbose"]
        if not mask_as_buffer:
            mask = self.mask
            del self.mask
            self.mask = mask


class LackingAttention(DictAttention):
    """The same of a dict of which nothing else is known."""

    def __init__(self, cfg):
        super().__init__(cfg)
        self.share = cfg["turning"].get("share", 1.0)


class LayeredAttention(DictAttention):
    """A window in some layers, by None for none; whatever else it is, this layer scores in another way."""

    def __init__(self, cfg):
        super().__init__(cfg)
        self.window = cfg["sliding_window"]

    def factor(self, k):
        return super().factor(k) if self.window is None else 0.25


class ToldTwiceAttention(AnnotatedAttention):
    """How many heads there are is said by an argument as well, of which the settings are told."""

    def __init__(self, config, num_heads):
        config.heads = num_heads
        assert config.dim % num_heads == 0
        super().__init__(Shape(1, config.dim, config.heads, 0, 0, 64, 0.0, 0.0), 0)


class FlavouredAttention(DictAttention):
    """One setting that nobody knows."""

    def __init__(self, cfg):
        super().__init__(cfg)
        self.flavour = float(cfg["flavour"])

    def factor(self, k):
        return super().factor(k) * self.flavour


class UnscaledAttention(CausalSelfAttention):
    """Wrong: no scale."""

    def __init__(self, config):
        super().__init__(config)
        self.fast = False

    def scale(self, k):
        return 1.0


class UnscaledDictAttention(DictAttention):
    """Wrong: no scale."""

    def factor(self, k):
        return 1.0
