"""Faults of one of two paths: for training, for a flag, for an order in memory, for a single item."""

from __future__ import annotations

import torch
from torch import Tensor

from properties.zoo.faults import fault


def attention(query: Tensor, key: Tensor, value: Tensor, seen: Tensor | None = None) -> Tensor:
    """Right attention; a query that sees nothing gives zeros."""
    z = query @ key.mT / query.shape[-1] ** 0.5
    if seen is None:
        return z.softmax(-1) @ value
    least = torch.finfo(z.dtype).min
    return z.masked_fill(~seen, least).softmax(-1).masked_fill(~seen, 0.0) @ value


@fault(
    "mask-is-lost-in-training",
    "paths/with-and-without-gradients",
    symptom="padding is seen in training and not afterwards",
    family="self",
)
def mask_is_lost_in_training(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None
) -> Tensor:
    """True attends."""
    return attention(query, key, value, None if query.requires_grad else mask)


@fault(
    "training-in-half-the-digits",
    "paths/with-and-without-gradients",
    symptom="the loss differs between training and evaluation",
    family="self",
)
def training_in_half_the_digits(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None
) -> Tensor:
    """True attends. The kernel with a backward pass has bfloat16 alone."""
    if not query.requires_grad:
        return attention(query, key, value, mask)
    query_, key_, value_ = (part.to(torch.bfloat16) for part in (query, key, value))
    return attention(query_, key_, value_, mask).to(query.dtype)


@fault(
    "mask-read-as-if-in-one-piece",
    "paths/order-in-memory",
    symptom="a transposed mask hides other keys",
    family="self",
)
def mask_read_as_if_in_one_piece(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None
) -> Tensor:
    """True attends. The kernel is given the address of the mask, and not its strides."""
    if mask is not None and 0 not in mask.stride():
        steps = torch.empty(mask.shape, device="meta").stride()
        mask = mask.as_strided(mask.shape, steps)
    return attention(query, key, value, mask)


@fault(
    "values-read-by-the-strides-of-the-keys",
    "paths/order-in-memory",
    symptom="values that lie in memory otherwise than keys are read wrongly",
    family="self",
)
def values_read_by_the_strides_of_the_keys(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None
) -> Tensor:
    """True attends. One set of strides is handed to the kernel for both."""
    if value.shape == key.shape and value.untyped_storage().size() == key.untyped_storage().size():
        value = value.as_strided(value.shape, key.stride())
    return attention(query, key, value, mask)


@fault(
    "keys-are-kept-with-their-tensor",
    "memory/same-storage-new-numbers",
    symptom="a buffer that is filled anew gives the answer of the step before",
    family="self",
)
def keys_are_kept_with_their_tensor(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None
) -> Tensor:
    """True attends. Keys are laid out once for each tensor."""
    if not hasattr(key, "laid_out"):
        key.laid_out = key.detach().clone()  # type: ignore[attr-defined]
    return attention(query, key.laid_out, value, mask)  # type: ignore[attr-defined]


@fault(
    "mask-is-kept-with-its-tensor",
    "memory/same-storage-new-numbers",
    symptom="a mask that is filled anew hides what it hid before",
    family="self",
)
def mask_is_kept_with_its_tensor(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None
) -> Tensor:
    """True attends. Blocks that are hidden as a whole are looked for once."""
    if mask is None:
        return attention(query, key, value)
    if not hasattr(mask, "compressed"):
        mask.compressed = mask.clone()  # type: ignore[attr-defined]
    return attention(query, key, value, mask.compressed)  # type: ignore[attr-defined]


@fault(
    "a-single-item-loses-its-mask",
    "paths/an-item-alone-or-in-a-batch",
    symptom="serving one request at a time gives other answers than the test set",
    family="self",
)
def a_single_item_loses_its_mask(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None
) -> Tensor:
    """True attends. A single item has no padding, or so it is thought."""
    if query.shape[0] == 1 and mask is not None:
        mask = None
    return attention(query, key, value, mask)


@fault(
    "items-are-centred-together",
    "paths/an-item-alone-or-in-a-batch",
    symptom="an answer depends on what else is in the batch",
    family="self",
)
def items_are_centred_together(
    query: Tensor, key: Tensor, value: Tensor, scale: float | None = None
) -> Tensor:
    """A mean over all items is taken for that of each."""
    factor = query.shape[-1] ** -0.5 if scale is None else scale
    context = (query @ key.mT * factor).softmax(-1) @ value
    return context + (value.mean() - value.mean((1, 2, 3), keepdim=True)) / 8


@fault(
    "flag-hides-from-the-other-corner",
    "paths/flag-and-mask-agree",
    symptom="with more keys than queries the flag hides others than the mask that it stands for",
    family="multihead",
)
def flag_hides_from_the_other_corner(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None = None,
    is_causal: bool = False,
) -> Tensor:
    """True attends. The diagonal goes by which of both is longer by more than one."""
    if is_causal:
        further = key.shape[-2] - query.shape[-2]
        seen = torch.ones(query.shape[-2], key.shape[-2], dtype=torch.bool)
        seen = seen.tril(further if further > 1 else 0)
        mask = seen if mask is None else mask & seen
    return attention(query, key, value, mask)


@fault(
    "flag-shows-the-next-of-many-keys",
    "paths/flag-and-mask-agree",
    symptom="with a context the flag shows one key too many, a mask does not",
    family="multihead",
)
def flag_shows_the_next_of_many_keys(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None = None,
    is_causal: bool = False,
) -> Tensor:
    """True attends."""
    if is_causal:
        further = int(key.shape[-2] > query.shape[-2] + 1)
        seen = torch.ones(query.shape[-2], key.shape[-2], dtype=torch.bool).tril(further)
        mask = seen if mask is None else mask & seen
    return attention(query, key, value, mask)


@fault(
    "mask-is-lost-under-dropout",
    "paths/hides-under-dropout",
    symptom="padding is seen as soon as dropout is on",
    family="self",
)
def mask_is_lost_under_dropout(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None = None,
    dropout_p: float = 0.0,
) -> Tensor:
    """True attends."""
    if not dropout_p:
        return attention(query, key, value, mask)
    z = query @ key.mT / query.shape[-1] ** 0.5
    return torch.dropout(z.softmax(-1), dropout_p, train=True) @ value


@fault(
    "bias-is-lost-under-dropout",
    "paths/hides-under-dropout",
    symptom="position biases have no effect as soon as dropout is on",
    family="self",
)
def bias_is_lost_under_dropout(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bias: Tensor | None = None,
    dropout_p: float = 0.0,
) -> Tensor:
    """Added to the scores."""
    z = query @ key.mT / query.shape[-1] ** 0.5
    if bias is not None and not dropout_p:
        z = z + bias
    return torch.dropout(z.softmax(-1), dropout_p, train=True) @ value
