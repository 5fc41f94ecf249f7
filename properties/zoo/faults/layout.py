"""Faults of memory layout: right for an input that was just made, wrong for a view of another."""

from __future__ import annotations

import torch
from torch import Tensor

from properties.zoo.faults import fault
from properties.zoo.faults.plain import PlainCausal, PlainMultiHead, PlainSelf, PlainSimplified

STRIDES = "shape/strides-do-not-matter"
VALUE = "oracle/output-within-bound"


def as_if_contiguous(x: Tensor) -> Tensor:
    """The numbers that lie where those of a contiguous x would."""
    strides = torch.empty(x.shape, device="meta").stride()
    flat = torch.as_strided(x, (x.untyped_storage().nbytes() // x.element_size(),), (1,), 0)
    offset = min(x.storage_offset(), len(flat))
    padded = torch.cat([flat[offset:], flat.new_zeros(x.numel())])
    return torch.as_strided(padded, x.shape, strides)


@fault(
    "input-read-as-contiguous",
    STRIDES,
    symptom="right on the CPU, wrong where a kernel ignores the strides of its input",
    source="pytorch/pytorch#181133, pytorch/pytorch#163597",
)
class InputReadAsContiguous(PlainMultiHead):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(as_if_contiguous(x))


@fault(
    "values-read-with-other-strides",
    STRIDES,
    symptom="weights are right, the values they mix are those of other tokens",
    source="ml-explore/mlx#1558 62f297b",
)
class ValuesReadWithOtherStrides(PlainMultiHead):
    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.W_query(x), self.W_key(x), self.W_value(as_if_contiguous(x))


@fault(
    "storage-offset-ignored",
    STRIDES,
    symptom="a slice of a longer sequence is read from the sequence's start",
    family="self",
)
class StorageOffsetIgnored(PlainSelf):
    def forward(self, x: Tensor) -> Tensor:
        start = 0 if x.dim() == 3 else x.storage_offset()
        return super().forward(torch.as_strided(x, x.shape, x.stride(), start))


@fault(
    "view-of-the-input",
    STRIDES,
    symptom="view raises on a transposed input where reshape would copy",
    family="causal",
)
class ViewOfTheInput(PlainCausal):
    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        flat = x.view(-1, self.d_in)  # (B * T, d_in)
        queries, keys, values = super().project(flat)
        shape = (*x.shape[:2], self.d_out)
        return queries.view(shape), keys.view(shape), values.view(shape)


@fault(
    "expanded-batch-read-once",
    STRIDES,
    symptom="of a batch that was made by expand only the first item is computed",
    source="mosaicml/llm-foundry#442 86a99e2, pytorch/pytorch#191937",
)
class ExpandedBatchReadOnce(PlainMultiHead):
    def forward(self, x: Tensor) -> Tensor:
        output = super().forward(x)
        if x.stride(0) == 0:
            output[1:] = 0.0
        return output


@fault(
    "last-stride-taken-for-one",
    STRIDES,
    symptom="x.mT, or every other column of x, is read as if its columns lay side by side",
    family="plain",
)
class LastStrideTakenForOne(PlainSimplified):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x if x.stride(-1) == 1 else as_if_contiguous(x))


@fault(
    "batch-and-tokens-swapped-where-equal",
    "causality/first-token-returns-its-own-value",
    "oracle/gradient-within-bound",
    symptom="with as many items as tokens, items attend to each other",
)
class BatchAndTokensSwappedWhereEqual(PlainMultiHead):
    def forward(self, x: Tensor) -> Tensor:
        swap = x.shape[0] == x.shape[1]
        output = super().forward(x.transpose(0, 1) if swap else x)
        return output.transpose(0, 1) if swap else output


@fault(
    "heads-and-tokens-swapped-where-equal",
    VALUE,
    symptom="with as many heads as tokens, a token attends over its own heads",
    source="huggingface/diffusers#14341 (in the backward pass)",
)
class HeadsAndTokensSwappedWhereEqual(PlainMultiHead):
    def split(self, x: Tensor) -> Tensor:
        parts = super().split(x)
        return parts.transpose(1, 2) if parts.shape[1] == parts.shape[2] else parts


@fault(
    "columns-turned-where-square",
    VALUE,
    symptom="with d_in = d_out the value matrix is applied transposed",
    source="rasbt/LLMs-from-scratch#893 27d52d6",
)
class ColumnsTurnedWhereSquare(PlainMultiHead):
    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        queries, keys, values = super().project(x)
        if self.d_in == self.d_out:
            values = x @ self.W_value.weight
        return queries, keys, values
