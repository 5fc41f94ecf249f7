"""Modules that keep the keys and values of a context, which later calls read: right and wrong ones.

Legend: B batch, T tokens of x, S tokens of the context, H heads, D head_dim.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from properties.zoo.wide import held, sound
from properties.zoo.wide.cross import PlainCross

Pair = tuple[Tensor, Tensor]
KEPT = "a context that is kept"
right = partial(sound, kind="kept")
wrong = partial(held, kind="kept", area="cache")


@right("kept-in-a-tuple", mask="attends", empty="uniform")
class KeptInATuple(PlainCross):
    """The caller holds keys and values: those of a context are taken as they are, those of x alone are
    appended to.
    """

    def forward(  # type: ignore[override]
        self,
        x: Tensor,
        context: Tensor | None = None,
        context_mask: Tensor | None = None,
        past: Pair | None = None,
        use_cache: bool = False,
    ) -> Tensor | tuple[Tensor, Pair]:
        """(B, T, d_model), (B, S, d_model), (B, S), (B, H, S, D) twice -> (B, T, d_model)."""
        keys, values = self.whole(x, context, past)
        scores = self.split(self.to_q(x)) @ keys.mT * self.head_dim**-0.5
        if context_mask is not None:
            hidden = ~self.shown(context_mask, keys, past)[:, None, None]
            scores = scores.masked_fill(hidden, torch.finfo(scores.dtype).min)
        weights = self.dropout(scores.softmax(dim=-1))
        output: Tensor = self.to_out((weights @ values).transpose(1, 2).flatten(2))
        return (output, (keys, values)) if use_cache else output

    def whole(self, x: Tensor, context: Tensor | None, past: Pair | None) -> Pair:
        """The keys and values that are read, and kept."""
        if context is not None and past is not None:
            return past
        present = self.made_of(x if context is None else context)
        return present if past is None else joined(past, present)

    def made_of(self, source: Tensor) -> Pair:
        """Keys and values of tokens, (B, H, S, D) twice."""
        return self.split(self.to_k(source)), self.split(self.to_v(source))

    def shown(self, mask: Tensor, keys: Tensor, past: Pair | None) -> Tensor:
        """Which keys are seen, (B, S)."""
        return mask.bool()


def joined(past: Pair, present: Pair) -> Pair:
    """Keys and values one after the other."""
    return torch.cat([past[0], present[0]], dim=2), torch.cat([past[1], present[1]], dim=2)


@right("kept-in-a-dict")
class KeptInADict(nn.Module):
    """The caller hands a dict to all layers, in which keys and values are kept by who has made them; then
    no context is needed.
    """

    def __init__(self, n_state: int, n_head: int) -> None:
        super().__init__()
        self.n_head = n_head
        self.query, self.key = nn.Linear(n_state, n_state), nn.Linear(n_state, n_state)
        self.value, self.out = nn.Linear(n_state, n_state), nn.Linear(n_state, n_state)

    def forward(self, x: Tensor, xa: Tensor | None, kv_cache: Any = None) -> Tensor:
        """(B, T, n_state), (B, S, n_state) -> (B, T, n_state)."""
        keys, values = self.whole(x, xa, kv_cache)
        heads = (part.unflatten(-1, (self.n_head, -1)) for part in (self.query(x), keys, values))
        q, k, v = (part.transpose(1, 2) for part in heads)
        mixed = functional.scaled_dot_product_attention(q, k, v)
        output: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return output

    def whole(self, x: Tensor, xa: Tensor | None, cache: Any) -> Pair:
        """The keys and values that are read, (B, S, n_state) twice."""
        if cache is not None and self.key in cache:
            return self.kept(x, xa, cache)
        if xa is None:
            raise ValueError("expected a context, or a cache that holds what was made of one")
        keys, values = self.key(xa), self.value(xa)
        if cache is not None:
            cache[self.key], cache[self.value] = keys, values
        return keys, values

    def kept(self, x: Tensor, xa: Tensor | None, cache: Any) -> Pair:
        """Those of an earlier call."""
        return cache[self.key], cache[self.value]


class ContextCache:
    """Keys and values of a context for each layer."""

    def __init__(self) -> None:
        self.layers: dict[int, Pair] = {}

    def is_updated(self, layer_idx: int) -> bool:
        """Whether a layer has made its own."""
        return layer_idx in self.layers

    def update(self, keys: Tensor, values: Tensor, layer_idx: int) -> Pair:
        """Keep them."""
        self.layers[layer_idx] = keys, values
        return keys, values


@right("kept-in-an-object")
class KeptInAnObject(PlainCross):
    """An object of the caller's says whether a layer has kept its keys and values."""

    def __init__(self, d_model: int, num_heads: int, layer_idx: int = 0) -> None:
        super().__init__(d_model, num_heads)
        self.layer_idx = layer_idx

    def forward(  # type: ignore[override]
        self, x: Tensor, context: Tensor, past_key_values: ContextCache | None = None
    ) -> Tensor:
        """(B, T, d_model), (B, S, d_model) -> (B, T, d_model)."""
        if past_key_values is not None and past_key_values.is_updated(self.layer_idx):
            keys, values = past_key_values.layers[self.layer_idx]
        else:
            keys, values = self.split(self.to_k(context)), self.split(self.to_v(context))
            if past_key_values is not None:
                past_key_values.update(keys, values, self.layer_idx)
        weights = (self.split(self.to_q(x)) @ keys.mT * self.head_dim**-0.5).softmax(dim=-1)
        output: Tensor = self.to_out((weights @ values).transpose(1, 2).flatten(2))
        return output


@right("kept-inside")
class KeptInside(PlainCross):
    """The module keeps them while it is told to, until it is told to forget."""

    kept: Pair | None = None

    def forward(  # type: ignore[override]
        self, x: Tensor, context: Tensor, use_cache: bool = False
    ) -> Tensor:
        """(B, T, d_model), (B, S, d_model) -> (B, T, d_model)."""
        if self.reads(use_cache) and self.kept is not None:
            keys, values = self.kept
        else:
            keys, values = self.split(self.to_k(context)), self.split(self.to_v(context))
        if use_cache:
            self.kept = keys, values
        weights = (self.split(self.to_q(x)) @ keys.mT * self.head_dim**-0.5).softmax(dim=-1)
        output: Tensor = self.to_out((self.dropout(weights) @ values).transpose(1, 2).flatten(2))
        return output

    def reads(self, use_cache: bool) -> bool:
        """Whether what is kept is read."""
        return use_cache

    def reset_cache(self) -> None:
        """Forget everything."""
        self.kept = None


@wrong(
    "kept-beside-x",
    named="keys of x beside the kept context",
    how=KEPT,
    symptom="from the second call on a query sees its own token as well",
)
class KeptBesideX(KeptInADict):
    """A call without a context is taken for one of x alone, which goes on from what is kept."""

    def kept(self, x: Tensor, xa: Tensor | None, cache: Any) -> Pair:
        keys, values = super().kept(x, xa, cache)
        if xa is not None:
            return keys, values
        return torch.cat([keys, self.key(x)], dim=1), torch.cat([values, self.value(x)], dim=1)


@wrong(
    "kept-of-the-first-item",
    named="kept context of the first item for all",
    how=KEPT,
    symptom="the first call is right; from the second one on all items read the first one's context",
)
class KeptOfTheFirstItem(KeptInATuple):
    def whole(self, x: Tensor, context: Tensor | None, past: Pair | None) -> Pair:
        keys, values = super().whole(x, context, past)
        if context is None or past is None:
            return keys, values
        return keys[:1].expand_as(keys), values[:1].expand_as(values)


@wrong(
    "kept-mask-dropped",
    named="mask of the context ignored beside what is kept",
    how="a context that is kept, padding",
    symptom="from the second call on the padding of the context is seen",
    mask="attends",
    empty="uniform",
)
class KeptMaskDropped(KeptInATuple):
    def shown(self, mask: Tensor, keys: Tensor, past: Pair | None) -> Tensor:
        return mask.bool() if past is None else torch.ones_like(mask, dtype=torch.bool)


@wrong(
    "kept-and-appended-to",
    named="context appended at every call",
    how="a context that is kept, padding",
    symptom="the context doubles at every call: slower and slower, and padding of all but one is seen",
    mask="attends",
    empty="uniform",
)
class KeptAndAppendedTo(KeptInATuple):
    """As of a past of x; what the mask does not reach is shown."""

    def forward(  # type: ignore[override]
        self,
        x: Tensor,
        context: Tensor,
        context_mask: Tensor | None = None,
        past: Pair | None = None,
        use_cache: bool = False,
    ) -> Tensor | tuple[Tensor, Pair]:
        """(B, T, d_model), (B, S, d_model), (B, S), (B, H, S, D) twice -> (B, T, d_model)."""
        return super().forward(x, context, context_mask, past, use_cache)

    def whole(self, x: Tensor, context: Tensor | None, past: Pair | None) -> Pair:
        present = super().whole(x, context, None)
        return present if past is None else joined(past, present)

    def shown(self, mask: Tensor, keys: Tensor, past: Pair | None) -> Tensor:
        return functional.pad(mask.bool(), (0, keys.shape[2] - mask.shape[1]), value=True)


@wrong(
    "kept-used-unasked",
    named="kept context used unasked",
    how="another context, without the cache",
    symptom="once a text was written, every later call of as many tokens answers by its context",
)
class KeptUsedUnasked(KeptInside):
    def reads(self, use_cache: bool) -> bool:
        return True


@wrong(
    "kept-after-a-reset",
    named="kept context outlives a reset",
    how="another context, after a reset",
    symptom="the second text is about the first one's context",
)
class KeptAfterAReset(KeptInside):
    def reset_cache(self) -> None:
        """Nothing is forgotten."""
