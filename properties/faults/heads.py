"""Faults of splitting, merging and concatenating heads."""

from __future__ import annotations

import torch
from torch import Tensor

from properties.faults import fault
from properties.faults.plain import PlainMultiHead, PlainWrapper

SPLIT = "heads/split-equals-per-head-matmul"


@fault(
    "view-without-transpose",
    SPLIT,
    "causality/future-does-not-change-past",
    symptom="heads are made of other tokens' columns; training still converges",
    source="hyunwoongko/transformer 391c9cd",
)
class ViewWithoutTranspose(PlainMultiHead):
    def split(self, x: Tensor) -> Tensor:
        return x.view(x.shape[0], self.num_heads, x.shape[1], self.head_dim)


@fault(
    "merge-without-transpose",
    SPLIT,
    "causality/future-does-not-change-past",
    symptom="tokens and heads are mixed in the output",
    source="jsbaan/transformer-from-scratch#6",
)
class MergeWithoutTranspose(PlainMultiHead):
    def merge(self, context: Tensor) -> Tensor:
        batch, heads, tokens, head_dim = context.shape
        return context.reshape(batch, tokens, heads * head_dim)


@fault(
    "wrapper-reverses-heads",
    "heads/wrapper-concatenates-in-order",
    symptom="head 0's columns come last",
    family="wrapper",
)
class WrapperReversesHeads(PlainWrapper):
    def join(self, parts: list[Tensor]) -> Tensor:
        return torch.cat(parts[::-1], dim=-1)


@fault(
    "wrapper-sums-heads",
    "heads/wrapper-width",
    "shape/output-shape",
    symptom="the output is d_out wide, not d_out * H",
    family="wrapper",
)
class WrapperSumsHeads(PlainWrapper):
    def join(self, parts: list[Tensor]) -> Tensor:
        return torch.stack(parts).sum(dim=0)
