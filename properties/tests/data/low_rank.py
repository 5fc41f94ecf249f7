"""Causal attention whose projections have low-rank additions (LoRA), in several spellings, and wrong ones.

Legend: B batch, T tokens, H heads, D head_dim, E = H * D, R rank.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Lora(nn.Module):
    """A frozen layer, and two matrices beside it."""

    def __init__(self, d_in: int, d_out: int, rank: int = 4, alpha: int = 8) -> None:
        super().__init__()
        self.base = nn.Linear(d_in, d_out, bias=False)
        self.base.weight.requires_grad = False
        self.lora_A = nn.Parameter(torch.randn(rank, d_in))
        self.lora_B = nn.Parameter(torch.zeros(d_out, rank))
        self.scaling = alpha / rank
        self.dropout = nn.Dropout(0.1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, d_in) -> (B, T, d_out)."""
        output: Tensor = self.base(x) + self.added(x)
        return output

    def added(self, x: Tensor) -> Tensor:
        """What the two matrices add."""
        return self.dropout(x) @ self.lora_A.T @ self.lora_B.T * self.scaling


class LoraOfLayers(nn.Module):
    """The matrices are layers themselves; nothing is frozen."""

    def __init__(self, d_in: int, d_out: int, rank: int = 4) -> None:
        super().__init__()
        self.linear = nn.Linear(d_in, d_out, bias=False)
        self.lora_a = nn.Linear(d_in, rank, bias=False)
        self.lora_b = nn.Linear(rank, d_out, bias=False)
        nn.init.zeros_(self.lora_b.weight)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, d_in) -> (B, T, d_out)."""
        output: Tensor = self.linear(x) + self.lora_b(self.lora_a(x))
        return output


class LoraLinear(nn.Linear):
    """A linear layer that has the matrices itself."""

    def __init__(self, d_in: int, d_out: int, rank: int = 4) -> None:
        super().__init__(d_in, d_out, bias=False)
        self.lora_A = nn.Parameter(torch.randn(rank, d_in))
        self.lora_B = nn.Parameter(torch.zeros(d_out, rank))

    def forward(self, input: Tensor) -> Tensor:
        """(B, T, d_in) -> (B, T, d_out)."""
        return super().forward(input) + input @ self.lora_A.T @ self.lora_B.T


class LoraWithoutBase(Lora):
    """Wrong: what the frozen layer gives is forgotten."""

    def forward(self, x: Tensor) -> Tensor:
        return self.added(x)


class LoraAttention(nn.Module):
    """Additions to all four projections."""

    layer: type[nn.Module] = Lora
    diagonal = 1

    def __init__(self, d_model: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q_proj = self.layer(d_model, d_model)
        self.k_proj = self.layer(d_model, d_model)
        self.v_proj = self.layer(d_model, d_model)
        self.o_proj = self.layer(d_model, d_model)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, E) -> the same."""
        return self.attend(self.q_proj(x), self.k_proj(x), self.v_proj(x))

    def attend(self, *projected: Tensor) -> Tensor:
        """(B, T, E) three times -> (B, T, E)."""
        q, k, v = (part.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for part in projected)
        future = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool).triu(self.diagonal)
        scores = (q @ k.mT * q.shape[-1] ** -0.5).masked_fill(future, -torch.inf)
        output: Tensor = self.o_proj((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))
        return output


class LoraOfLayersAttention(LoraAttention):
    layer = LoraOfLayers


class LoraLinearAttention(LoraAttention):
    layer = LoraLinear


class LoraBesideAttention(LoraAttention):
    """The matrices for queries and values lie in the attention itself."""

    layer = nn.Linear

    def __init__(self, d_model: int, num_heads: int, rank: int = 4) -> None:
        super().__init__(d_model, num_heads)
        self.lora_q_A = nn.Parameter(torch.randn(rank, d_model))
        self.lora_q_B = nn.Parameter(torch.zeros(d_model, rank))
        self.lora_v_A = nn.Parameter(torch.randn(rank, d_model))
        self.lora_v_B = nn.Parameter(torch.zeros(d_model, rank))

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, E) -> the same."""
        q = self.q_proj(x) + x @ self.lora_q_A.T @ self.lora_q_B.T
        v = self.v_proj(x) + x @ self.lora_v_A.T @ self.lora_v_B.T
        return self.attend(q, self.k_proj(x), v)


class AddedFromTheStart(LoraAttention):
    """Right, with additions that are not zero as built."""

    def __init__(self, d_model: int, num_heads: int) -> None:
        super().__init__(d_model, num_heads)
        for name, parameter in self.named_parameters():
            if name.endswith("lora_B"):
                nn.init.ones_(parameter)


class AddedToTheWrongOne(LoraBesideAttention):
    """Wrong: what is for the values is added to the keys."""

    def forward(self, x: Tensor) -> Tensor:
        q = self.q_proj(x) + x @ self.lora_q_A.T @ self.lora_q_B.T
        k = self.k_proj(x) + x @ self.lora_v_A.T @ self.lora_v_B.T
        return self.attend(q, k, self.v_proj(x))


class WithoutBase(LoraAttention):
    layer = LoraWithoutBase


class LoraOffByOne(LoraAttention):
    diagonal = 2


class LoraAsAsked(Lora):
    """Rank and factor have to be told."""

    def __init__(self, d_in: int, d_out: int, rank: int, alpha: int) -> None:
        super().__init__(d_in, d_out, rank, alpha)


class LoraAsAskedAttention(LoraAttention):
    def __init__(
        self, d_model: int, num_heads: int, r: int, lora_alpha: int, lora_dropout: float
    ) -> None:
        nn.Module.__init__(self)
        self.num_heads = num_heads
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            self.add_module(name, LoraAsAsked(d_model, d_model, r, lora_alpha))
            self.get_submodule(name).dropout = nn.Dropout(lora_dropout)


class LoraAsAskedOffByOne(LoraAsAskedAttention):
    """Wrong: a token more is seen."""

    diagonal = 2


class Dora(LoraLinear):
    """Lengths of the rows are trained apart from their directions."""

    def __init__(self, d_in: int, d_out: int) -> None:
        super().__init__(d_in, d_out)
        self.magnitude = nn.Parameter(self.weight.detach().norm(dim=1, keepdim=True))

    def lengths(self) -> Tensor:
        """(d_out, 1)."""
        return self.magnitude

    def forward(self, input: Tensor) -> Tensor:
        """(B, T, d_in) -> (B, T, d_out)."""
        rows = self.weight + self.lora_B @ self.lora_A
        return input @ (self.lengths() * rows / rows.norm(dim=1, keepdim=True)).T


class DoraWithFixedLengths(Dora):
    """Wrong: the lengths are never trained."""

    def lengths(self) -> Tensor:
        return self.magnitude.detach()


class DoraAttention(LoraAttention):
    layer = Dora


class DoraOfFixedLengthsAttention(LoraAttention):
    layer = DoraWithFixedLengths


class Bottleneck(nn.Module):
    """One number for each token, and nothing of it where it is below zero."""

    def __init__(self, d_in: int, d_out: int) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(d_in, 1), nn.Linear(1, d_out)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, d_in) -> (B, T, d_out)."""
        output: Tensor = self.up(self.through(self.down(x)))
        return output

    def through(self, x: Tensor) -> Tensor:
        """(B, T, 1) -> the same."""
        return torch.relu(x)


class CutOffBottleneck(Bottleneck):
    """Wrong: no gradient comes back."""

    def through(self, x: Tensor) -> Tensor:
        return torch.relu(x).detach()


class BottleneckAttention(LoraAttention):
    layer = Bottleneck


class CutOffBottleneckAttention(LoraAttention):
    layer = CutOffBottleneck
