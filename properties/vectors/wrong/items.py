"""Items of a batch that meet, stand in each other's place, or are left out.

Legend: B batch, H heads, T queries, S keys.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from properties.truth import visibility
from properties.vectors.call import Call, Parts
from properties.vectors.vector import Vector
from properties.vectors.wrong.bare import as_many_keys, bare, giving, of_weights


@bare("attends over the items")
def over_items(vector: Vector) -> Parts | None:
    """(T, B, W) is read as (B, T, W): items attend to each other, token by token."""
    call, items = vector.call, len(vector.call.queries)
    if not as_many_keys(vector):
        return None
    q, k, v = (part.swapaxes(0, 2) for part in (call.queries, call.keys, call.values))
    causal = bool(vector.options.causal)
    seen = visibility.causal(items, items) if causal else visibility.everything(items, items)
    found = replace(call, queries=q, keys=k, values=v, request=replace(call.request, visible=seen))
    parts = found.parts
    right = call.parts
    return replace(right, output=parts.output.swapaxes(0, 2), lse=parts.lse.swapaxes(0, 2))


@bare("mean over the items taken out")
def centred(vector: Vector) -> Call | None:
    """Statistics of the batch: what is answered depends on what else is asked."""
    call = vector.call
    if len(call.queries) == 1:
        return None
    q, k, v = (p - p.mean(axis=0, keepdims=True) for p in (call.queries, call.keys, call.values))
    return replace(call, queries=q, keys=k, values=v)


@bare("last item left zero")
def last_zero(vector: Vector) -> Parts | None:
    """Items are computed in blocks, and one without a partner is not."""
    output = np.array(vector.call.parts.output)
    output[-1] = 0.0
    return giving(vector.call, output) if len(output) > 1 else None


def ordered(by: int, *, turned: bool = False) -> None:
    """Enter another order of the items."""

    @bare("items in another order")
    def in_order(vector: Vector) -> Parts | None:
        """Sorted for the kernel and never put back."""
        output = vector.call.parts.output
        output = np.roll(output[::-1] if turned else output, by, axis=0)
        return giving(vector.call, output) if len(output) > 1 else None


for _by in (0, 1, 2):
    ordered(_by)
    ordered(_by, turned=True)


@bare("first item reads the keys of the last")
def keys_of_the_last(vector: Vector) -> Call | None:
    """An index of -1."""
    call = vector.call
    keys = np.concatenate([call.keys[-1:], call.keys[1:]])
    return replace(call, keys=keys) if len(keys) > 1 else None


@bare("weights of the first item for all")
def weights_of_the_first(vector: Vector) -> Parts | None:
    """Right with batches of one."""
    weights = vector.call.attended.weights
    return of_weights(vector.call, np.broadcast_to(weights[:1], weights.shape))


@bare("values of the first item for all")
def values_of_the_first(vector: Vector) -> Call | None:
    """Each item has weights of its own, and all have one item's values."""
    call = vector.call
    return replace(call, values=np.broadcast_to(call.values[:1], call.values.shape))


@bare("causal in the first item alone")
def first_causal(vector: Vector) -> Call | None:
    """The mask is read for one item, and the others see the future."""
    if not vector.options.causal:
        return None
    seen = np.ones(vector.shape, dtype=np.bool_)
    seen[:1] = vector.visible[:1]
    return replace(vector.call, request=replace(vector.call.request, visible=seen))


@bare("an eighth of the mean over the items")
def towards_the_mean(vector: Vector) -> Parts | None:
    """What an item's values are on average is drawn towards that of all items."""
    call = vector.call
    if len(call.values) == 1:
        return None
    apart = call.values.mean() - call.values.mean(axis=(1, 2, 3), keepdims=True)
    return giving(call, call.parts.output + apart / 8.0)
