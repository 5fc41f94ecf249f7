"""Ways to compute a call with torch alone, each written from the formula; all of them are right."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from properties.basics.dtypes import Array
from properties.tests.calls import Call
from properties.truth.request import Request

DTYPES = {name: getattr(torch, name) for name in ("float64", "float32", "bfloat16", "float16")}


@dataclass
class Parts:
    """A call as tensors: leaves of the graph, and who sees whom."""

    leaves: dict[str, Tensor]  # "queries", "keys", "values", "logits" (the bias), "sink"
    seen: Tensor  # (B, H, T, S)
    request: Request

    @property
    def q(self) -> Tensor:
        return self.leaves["queries"]

    @property
    def k(self) -> Tensor:
        return self.leaves["keys"].repeat_interleave(self.share, dim=1)

    @property
    def v(self) -> Tensor:
        return self.leaves["values"].repeat_interleave(self.share, dim=1)

    @property
    def share(self) -> int:
        return self.q.shape[1] // self.leaves["keys"].shape[1]

    @property
    def scale(self) -> float:
        return self.request.factor(self.q.shape[-1])

    @property
    def bias(self) -> Tensor | float:
        return self.leaves.get("logits", 0.0)

    @property
    def sink(self) -> Tensor | None:
        return self.leaves["sink"].reshape(-1, 1, 1) if "sink" in self.leaves else None

    @property
    def none(self) -> Tensor:
        """(B, H, T, 1): the rows in which nothing has any weight."""
        return ~self.seen.any(dim=-1, keepdim=True) & (self.sink is None)


Found = dict[str, Tensor]
Form = Callable[[Parts], Found]


def parts_of(call: Call, dtype: torch.dtype) -> Parts:
    """The call as leaves in this format; a bias of minus infinity becomes a hidden key."""
    shape = (*call.queries.shape[:3], call.keys.shape[2])
    request = call.request
    arrays = {"queries": call.queries, "keys": call.keys, "values": call.values}
    if request.bias is not None:
        arrays["logits"] = np.broadcast_to(np.nan_to_num(request.bias, neginf=0.0), shape)
    if request.sink is not None:
        arrays["sink"] = request.sink
    leaves = {
        n: torch.tensor(a.tolist(), dtype=dtype, requires_grad=True) for n, a in arrays.items()
    }
    return Parts(leaves, torch.tensor(request.seen(shape).tolist()), request)


def eager(p: Parts) -> Found:
    """Every step in the format itself: the scale after, a tanh, the sink as one more column."""
    z = (p.q @ p.k.transpose(-1, -2)) * p.scale
    if p.request.cap is not None:
        z = torch.tanh(z / p.request.cap) * p.request.cap
    z = (z + p.bias).masked_fill(~p.seen, -torch.inf).masked_fill(p.none, 0.0)
    if p.sink is not None:
        z = torch.cat([z, p.sink.expand(*z.shape[:-1], 1)], dim=-1)
    weights = torch.softmax(z, dim=-1)[..., : p.seen.shape[-1]]
    return given_to_rows_of_none(p, weights, torch.logsumexp(z, dim=-1), p.v)


def reversed_and_upcast(p: Parts) -> Found:
    """The sums from the last term, the root of the scale on both, the softmax in double."""
    root = p.scale**0.5
    z = (p.q.flip(-1) * root) @ (p.k.flip(-1) * root).transpose(-1, -2)
    if p.request.cap is not None:
        z = p.request.cap * (z * (1.0 / p.request.cap)).tanh()
    z = (p.bias + z).double().masked_fill(~p.seen, -torch.inf).masked_fill(p.none, 0.0)
    lse = torch.logsumexp(z, dim=-1, keepdim=True)
    lse = lse if p.sink is None else torch.logaddexp(lse, p.sink.double())
    weights = torch.exp(z - lse).to(p.q.dtype)
    found = given_to_rows_of_none(p, weights.flip(-1), lse[..., 0].to(p.q.dtype), p.v.flip(-2))
    return {**found, "weights": found["weights"].flip(-1)}


def given_to_rows_of_none(p: Parts, weights: Tensor, lse: Tensor, values: Tensor) -> Found:
    """The context, and what was agreed for rows that see nothing."""
    rest = {"zeros": 0.0, "nan": torch.nan, "uniform": 1.0 / weights.shape[-1]}[p.request.empty]
    weights = torch.where(p.none, rest, weights)
    lse = lse.masked_fill(p.none[..., 0], -torch.inf)
    return {"weights": weights, "lse": lse, "context": weights @ values}


def tiles(p: Parts) -> Found:
    """As kernels do: two keys at a time, a running maximum, base two, sums in float32 or wider.

    The tanh is made of exponentials. Weights are none of its results.
    """
    log2e, dtype = 1.4426950408889634, torch.promote_types(p.q.dtype, torch.float32)
    q, k, v = p.q.to(dtype), p.k.to(dtype), p.v.to(dtype)
    z = q @ k.transpose(-1, -2)
    if p.request.cap is None:
        z = z * (p.scale * log2e)
    else:
        exponent = z * (2.0 * p.scale * log2e / p.request.cap)
        growth = torch.exp2(exponent.clamp(max=126.0))  # a tanh is one long before
        z = (1.0 - 2.0 / (growth + 1.0)) * (p.request.cap * log2e)
    bias = p.leaves["logits"].to(dtype) * log2e if "logits" in p.leaves else 0.0
    z = (z + bias).masked_fill(~p.seen, -torch.inf)
    top = torch.full_like(z[..., :1], -torch.inf)
    total, context = torch.zeros_like(top), torch.zeros_like(top) * v[..., :1, :]
    if p.sink is not None:
        top = p.sink.to(dtype).expand_as(top) * log2e
        total = torch.ones_like(top)
    for start in range(0, z.shape[-1], 2):
        tile = z[..., start : start + 2]
        raised = torch.maximum(top, tile.amax(dim=-1, keepdim=True)).detach()
        level = raised.masked_fill(raised == -torch.inf, 0.0)
        shares, kept = torch.exp2(tile - level), torch.exp2(top - level)
        total = total * kept + shares.sum(dim=-1, keepdim=True)
        context = context * kept + shares.to(p.q.dtype).to(dtype) @ v[..., start : start + 2, :]
        top = raised
    lse = (top + torch.log2(total.masked_fill(p.none, 1.0))) / log2e
    context = context / total.masked_fill(p.none, 1.0)
    if p.request.empty != "zeros":
        rest = v.mean(dim=-2, keepdim=True) * (1.0 if p.request.empty == "uniform" else torch.nan)
        context = torch.where(p.none, rest, context)
    return {"lse": lse[..., 0].to(p.q.dtype), "context": context.to(p.q.dtype)}


def fused(p: Parts) -> Found:
    """Torch's own, of what it takes: no cap and no sink."""
    mask: Tensor = p.seen
    if "logits" in p.leaves:
        mask = p.leaves["logits"].masked_fill(~p.seen, -torch.inf)
    context = scaled_dot_product_attention(
        p.q, p.leaves["keys"], p.leaves["values"], mask, scale=p.scale, enable_gqa=True
    )
    return {"context": context}


FORMS: list[Form] = [eager, reversed_and_upcast, tiles, fused]


def asked_of(form: Form, call: Call) -> Call:
    """What the form takes of the call."""
    if form is not fused:
        return call
    return replace(call, request=replace(call.request, cap=None, sink=None, empty="zeros"))


def as_array(tensor: Tensor) -> Array:
    """In float64."""
    return np.array(tensor.detach().double().tolist()).reshape(tuple(tensor.shape))
