"""Faults of the backward pass alone: the output is right, the gradients are those of something else.

Legend: B batch, H query heads, G key-value heads, T queries, S keys, D head_dim.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from properties.zoo.faults import fault

Register = Callable[[Callable[..., Tensor]], Callable[..., Tensor]]


class Instead(Function):
    """The value of one tensor with the gradient of another."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, differentiated: Tensor) -> Tensor:
        """The value."""
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *upstream: Any) -> tuple[None, Tensor]:
        """All of it to the other tensor."""
        return None, upstream[0]


def instead(value: Tensor, differentiated: Tensor) -> Tensor:
    """The value of the first with the gradient of the second, which is of the same shape."""
    result: Tensor = Instead.apply(value, differentiated)  # type: ignore[no-untyped-call]
    return result


def scores(query: Tensor, key: Tensor) -> Tensor:
    """(B, H, T, S), scaled."""
    return query @ key.mT / query.shape[-1] ** 0.5


def softmax(z: Tensor, seen: Tensor) -> Tensor:
    """Weights; a query that sees nothing has zeros."""
    least = torch.finfo(z.dtype).min
    return z.masked_fill(~seen, least).softmax(-1).masked_fill(~seen, 0.0)


def shown(z: Tensor, mask: Tensor | None) -> Tensor:
    """A mask of the shape of z; without one everything is seen."""
    everything = torch.ones_like(z, dtype=torch.bool)
    return everything if mask is None else everything & mask


def added(seen: Tensor, z: Tensor) -> Tensor:
    """Zero where a key is seen, else minus infinity, in the format of z."""
    return torch.zeros_like(z).masked_fill(~seen, -torch.inf)


def backward_fault(name: str, *laws: str, symptom: str, source: str = "constructed") -> Register:
    """A fault that claims to be a function without a causal flag."""
    return fault(name, *laws, symptom=symptom, source=source, family="self")


@backward_fault(
    "backward-without-the-mask",
    "mask/gradients-follow-the-mask",
    "mask/hidden-key-has-no-gradient",
    symptom="padding is trained: the mask is not handed to the backward kernel",
)
def backward_without_the_mask(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None
) -> Tensor:
    """True attends."""
    z = scores(query, key)
    seen = shown(z, mask)
    return instead(softmax(z, seen) @ value, z.softmax(-1) @ value)


@backward_fault(
    "values-get-gradient-where-hidden",
    "mask/hidden-key-has-no-gradient",
    "mask/gradients-follow-the-mask",
    symptom="the values of padding get a gradient, queries and keys are trained rightly",
)
def values_get_gradient_where_hidden(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None
) -> Tensor:
    """True attends."""
    z = scores(query, key)
    weights = softmax(z, shown(z, mask))
    through = weights @ value.detach() + z.detach().softmax(-1) @ value
    return instead(weights @ value, through)


@backward_fault(
    "nan-is-repaired-forward-alone",
    "mask/empty-row-has-no-bad-gradient",
    symptom="a batch with one padded query makes all gradients NaN, the loss is finite",
)
def nan_is_repaired_forward_alone(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None
) -> Tensor:
    """True attends. Softmax of minus infinities, then nan_to_num."""
    z = scores(query, key)
    return (z + added(shown(z, mask), z)).softmax(-1).nan_to_num() @ value


@backward_fault(
    "no-weight-is-divided-by-zero",
    "mask/empty-row-has-no-bad-gradient",
    symptom="a batch with one padded query makes all gradients NaN, the loss is finite",
)
def no_weight_is_divided_by_zero(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None
) -> Tensor:
    """True attends. torch.where chooses between 0 / 0 and zero: the derivative of 0 / 0 is NaN."""
    z = scores(query, key)
    z = z + added(shown(z, mask), z)
    top = z.amax(-1, keepdim=True).detach().nan_to_num(neginf=0.0)
    powers = (z - top).exp()
    total = powers.sum(-1, keepdim=True)
    return torch.where(total > 0, powers / total, 0.0) @ value


@backward_fault(
    "bias-is-detached",
    "mask/gradient-of-a-bias",
    symptom="a learned position bias never changes",
)
def bias_is_detached(
    query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None
) -> Tensor:
    """Of the scores' own numbers."""
    z = scores(query, key)
    if bias is not None:
        z = z + bias.detach()
    return z.softmax(-1) @ value


@backward_fault(
    "gradient-of-the-bias-is-scaled",
    "mask/gradient-of-a-bias",
    symptom="a learned position bias is trained sqrt(head_dim) times too slowly",
)
def gradient_of_the_bias_is_scaled(
    query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None
) -> Tensor:
    """The gradient before the scale is given to the bias as well."""
    z = scores(query, key)
    if bias is not None:
        z = z + instead(bias, bias / query.shape[-1] ** 0.5)
    return z.softmax(-1) @ value


@backward_fault(
    "keys-beyond-the-queries-get-no-gradient",
    "cross/gradients-of-other-lengths",
    symptom="a longer context is read and its end is never trained",
)
def keys_beyond_the_queries_get_no_gradient(
    query: Tensor, key: Tensor, value: Tensor, scale: float | None = None
) -> Tensor:
    """The grid of the backward pass is that of the queries."""
    factor = query.shape[-1] ** -0.5 if scale is None else scale
    rows = query.shape[-2]
    key, value = (
        torch.cat([part[..., :rows, :], part[..., rows:, :].detach()], -2) for part in (key, value)
    )
    return (query @ key.mT * factor).softmax(-1) @ value


@backward_fault(
    "gradient-is-a-mean-over-keys",
    "cross/gradients-of-other-lengths",
    symptom="values are trained with another step for every length of the context",
)
def gradient_is_a_mean_over_keys(
    query: Tensor, key: Tensor, value: Tensor, scale: float | None = None
) -> Tensor:
    """Right where there are as many keys as queries."""
    factor = query.shape[-1] ** -0.5 if scale is None else scale
    value = instead(value, value * query.shape[-2] / key.shape[-2])
    return (query @ key.mT * factor).softmax(-1) @ value


@backward_fault(
    "gradient-is-a-mean-over-the-group",
    "groups/gradient-is-summed-over-the-group",
    symptom="keys and values of a group are trained as many times too slowly as it has heads",
)
def mean_over_the_group(
    query: Tensor, key: Tensor, value: Tensor, enable_gqa: bool = False
) -> Tensor:
    """Heads of a group lie side by side."""
    times = query.shape[1] // key.shape[1]
    key, value = (instead(part, part / times).repeat_interleave(times, 1) for part in (key, value))
    return scores(query, key).softmax(-1) @ value


@backward_fault(
    "gradient-of-the-last-head-of-a-group",
    "groups/gradient-is-summed-over-the-group",
    symptom="keys and values of a group are trained by one of its heads",
)
def last_head_of_a_group(
    query: Tensor, key: Tensor, value: Tensor, enable_gqa: bool = False
) -> Tensor:
    """Each head of a group writes its gradient to the same place."""
    times = query.shape[1] // key.shape[1]
    key, value = (
        torch.stack([part.detach()] * (times - 1) + [part], 2).flatten(1, 2)
        for part in (key, value)
    )
    return scores(query, key).softmax(-1) @ value


def in_window(z: Tensor, window: int | None, beyond: int = 0) -> Tensor:
    """True for the query's own key and as many before it as the window says, and some beyond."""
    behind = torch.arange(z.shape[-2])[:, None] - torch.arange(z.shape[-1])
    if window is None:
        return torch.ones_like(z, dtype=torch.bool)
    return torch.ones_like(z, dtype=torch.bool) & (behind >= 0) & (behind <= window + beyond)


@backward_fault(
    "backward-without-the-window",
    "window/no-gradient-outside-the-window",
    symptom="keys outside the window are trained",
)
def backward_without_the_window(
    query: Tensor, key: Tensor, value: Tensor, window: int | None = None
) -> Tensor:
    """The window is of the past, the query's own key besides."""
    z = scores(query, key)
    return instead(softmax(z, in_window(z, window)) @ value, z.softmax(-1) @ value)


@backward_fault(
    "backward-window-is-one-wider",
    "window/no-gradient-outside-the-window",
    symptom="one key outside the window is trained",
)
def backward_window_is_one_wider(
    query: Tensor, key: Tensor, value: Tensor, window: int | None = None
) -> Tensor:
    """The window is of the past, the query's own key besides."""
    z = scores(query, key)
    forward, backward = (softmax(z, in_window(z, window, beyond)) for beyond in (0, 1))
    return instead(forward @ value, backward @ value)


@backward_fault(
    "cap-without-its-derivative",
    "score/gradient-goes-through-the-cap",
    symptom="scores beyond the cap are pushed on",
)
def cap_without_its_derivative(
    query: Tensor, key: Tensor, value: Tensor, softcap: float = 0.0
) -> Tensor:
    """The gradient is that of the scores before the cap."""
    z = scores(query, key)
    if softcap:
        z = instead(softcap * (z / softcap).tanh(), z)
    return z.softmax(-1) @ value


@backward_fault(
    "derivative-of-the-cap-is-not-squared",
    "score/gradient-goes-through-the-cap",
    symptom="training with a cap is slower than it should be",
)
def derivative_not_squared(
    query: Tensor, key: Tensor, value: Tensor, softcap: float = 0.0
) -> Tensor:
    """1 - |tanh| in place of 1 - tanh^2."""
    z = scores(query, key)
    if softcap:
        t = (z / softcap).tanh()
        z = instead(softcap * t, z * (1 - t.abs()).detach())
    return z.softmax(-1) @ value


@backward_fault(
    "backward-with-the-default-scale",
    "score/gradient-with-a-given-scale",
    symptom="with a scale of one's own queries and keys are trained with another one",
)
def backward_with_the_default_scale(
    query: Tensor, key: Tensor, value: Tensor, scale: float | None = None
) -> Tensor:
    """The scale is not handed to the backward pass."""
    z = scores(query, key)
    if scale is not None:
        z = instead(query @ key.mT * scale, z)
    return z.softmax(-1) @ value


@backward_fault(
    "keys-get-the-scale-twice",
    "score/gradient-with-a-given-scale",
    symptom="keys are trained with another step than queries",
)
def keys_get_the_scale_twice(
    query: Tensor, key: Tensor, value: Tensor, scale: float | None = None
) -> Tensor:
    """The gradient of the keys is made from scaled queries, and is scaled again."""
    if scale is None:
        return scores(query, key).softmax(-1) @ value
    return (query @ instead(key, key * scale).mT * scale).softmax(-1) @ value
