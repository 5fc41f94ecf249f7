"""The bounds of calls hold for every way to compute them, in every format, and are not idle.

Each form is written with torch alone, from the formula, and is differentiated by autograd.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from hypothesis import given
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from properties.basics.dtypes import FORMATS, Array
from properties.tests.calls import Call, calls, used
from properties.truth import bounds, oracle, visibility
from properties.truth.attend import attend, attend_gradients
from properties.truth.bounds import attend_budget, attend_gradient_budget
from properties.truth.bounds.arithmetic import exactly
from properties.truth.bounds.positions import turned
from properties.truth.parameters import Weights
from properties.truth.positions import Pairing, Rotary
from properties.truth.request import Request

DTYPES = {name: getattr(torch, name) for name in ("float64", "float32", "bfloat16", "float16")}
VISIBLE = 1e-3  # a bound a thousand times as wide as what rounding makes of it shows less


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


def forward_shares(form: Form, call: Call, dtype: str) -> dict[str, float]:
    """Which share of each bound the form uses."""
    call = asked_of(form, call)
    truth = attend(*call.arrays, call.request)
    allowed = attend_budget(*call.arrays, call.request, truth, dtype)
    found = {n: as_array(t) for n, t in form(parts_of(call, DTYPES[dtype])).items()}
    shares = {n: used(getattr(truth, n), a, getattr(allowed, n)) for n, a in found.items()}
    if "weights" in found:
        mean = as_array(torch.tensor(found["weights"].tolist(), dtype=DTYPES[dtype]).mean(dim=1))
        shares["averaged"] = used(truth.weights.mean(axis=1), mean, allowed.averaged)
    return shares


def backward_shares(form: Form, call: Call, dtype: str) -> dict[str, float]:
    """Which share of each gradient's bound the form uses."""
    call = asked_of(form, call)
    truth = attend(*call.arrays, call.request)
    expected = attend_gradients(*call.arrays, call.request, truth, call.upstream)
    allowed = attend_gradient_budget(
        *call.arrays, call.request, truth, expected, call.upstream, dtype
    )
    parts = parts_of(call, DTYPES[dtype])
    context = form(parts)["context"]
    upstream = torch.tensor(call.upstream.tolist(), dtype=DTYPES[dtype])
    wanted = list(parts.leaves.values())
    found = torch.autograd.grad(context, wanted, upstream, materialize_grads=True)
    return {
        name: used(getattr(expected, name), as_array(gradient), getattr(allowed, name))
        for name, gradient in zip(parts.leaves, found, strict=True)
    }


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
def test_every_form_stays_within_the_bounds_of_a_call_and_uses_them(form: Form, dtype: str) -> None:
    """Context, weights, their mean over the heads, and the logarithm of the denominator."""
    worst: dict[str, float] = {}

    @given(call=calls(dtype))
    def stays_within(call: Call) -> None:
        for name, share in forward_shares(form, call, dtype).items():
            worst[name] = max(worst.get(name, 0.0), share)
            assert share <= 1.0, name

    stays_within()
    print({name: f"{share:.2g}" for name, share in worst.items()})
    assert min(worst.values()) > VISIBLE


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
def test_every_form_stays_within_the_bounds_of_gradients_and_uses_them(
    form: Form, dtype: str
) -> None:
    """Of queries, keys, values, biases and sinks."""
    worst: dict[str, float] = {}

    @given(call=calls(dtype, empty=("zeros", "uniform")))
    def stays_within(call: Call) -> None:
        for name, share in backward_shares(form, call, dtype).items():
            worst[name] = max(worst.get(name, 0.0), share)
            assert share <= 1.0, name

    stays_within()
    print({name: f"{share:.2g}" for name, share in worst.items()})
    assert min(worst.values()) > VISIBLE


def halves(x: Tensor, positions: Tensor) -> Tensor:
    """Angles in float32, cosine and sine cast, the second half negated and put first."""
    number = x.shape[-1] // 2
    frequencies = 1.0 / 10000.0 ** (torch.arange(number, dtype=torch.float32) / number)
    angles = torch.cat([positions.float()[:, None] * frequencies] * 2, dim=-1)
    turned = torch.cat([-x[..., number:], x[..., :number]], dim=-1)
    return x * angles.cos().to(x.dtype) + turned * angles.sin().to(x.dtype)


def neighbours(x: Tensor, positions: Tensor) -> Tensor:
    """Frequencies by an exponential, pairs as complex numbers of float32, rounded at the end."""
    number = x.shape[-1] // 2
    powers = torch.arange(number, dtype=torch.float32) / number
    frequencies = torch.exp(-powers * float(np.log(10000.0)))
    angles = torch.outer(positions.float(), frequencies)
    turns = torch.polar(torch.ones_like(angles), angles)
    pairs = torch.view_as_complex(x.float().reshape(*x.shape[:-1], number, 2).contiguous())
    return torch.view_as_real(pairs * turns).flatten(-2).to(x.dtype)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("turn", [halves, neighbours], ids=lambda turn: turn.__name__)
def test_a_module_with_groups_a_context_and_positions_stays_within_its_bounds(
    turn: Callable[[Tensor, Tensor], Tensor], dtype: str
) -> None:
    """Angles in float32 at positions of up to thousands; output and gradients."""
    worst: dict[str, float] = {}
    for seed in range(12):
        for name, share in module_shares(turn, dtype, seed, past=37 * seed * seed).items():
            worst[name] = max(worst.get(name, 0.0), share)
    print({name: f"{share:.2g}" for name, share in worst.items()})
    assert max(worst.values()) <= 1.0
    assert worst["output"] > VISIBLE


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("past", [0, 100, 4000])
@pytest.mark.parametrize("turn", [halves, neighbours], ids=lambda turn: turn.__name__)
def test_what_is_turned_stays_within_its_bound_and_uses_it(
    turn: Callable[[Tensor, Tensor], Tensor], past: int, dtype: str
) -> None:
    """Wherever it stands."""
    fmt, positions = FORMATS[dtype], np.arange(20) + past
    x = fmt.round(np.random.default_rng(past).normal(size=(2, 2, 20, 16)))
    pairing: Pairing = "halves" if turn is halves else "neighbours"
    allowed = turned(
        exactly(x), positions, Rotary(positions, positions, pairing), fmt, FORMATS["float32"]
    )
    tensor = torch.tensor(x.tolist(), dtype=DTYPES[dtype])
    found = as_array(turn(tensor, torch.tensor(positions.tolist())))
    share = used(allowed.value, found, allowed.error)
    print(f"{share:.2g}")
    assert 20 * VISIBLE < share <= 1.0


def module_shares(
    turn: Callable[[Tensor, Tensor], Tensor], dtype: str, seed: int, past: int
) -> dict[str, float]:
    """H = 4, G = 2, D = 8, Dv = 3, T = 3, S = 5; x has 5 columns, the tokens have 6."""
    g, fmt = np.random.default_rng(seed), FORMATS[dtype]
    shapes = {"query": (5, 32), "key": (6, 16), "value": (6, 6), "out": (12, 5)}
    shapes |= {f"{name}_bias": shape[1:] for name, shape in list(shapes.items())}
    arrays = {n: fmt.round(g.normal(size=shape) / 4) for n, shape in shapes.items()}
    x, tokens = (fmt.round(g.normal(size=(2, *shape))) for shape in ((3, 5), (5, 6)))
    upstream = fmt.round(g.normal(size=(2, 3, 5)))
    request = Request(visible=visibility.causal(3, 5, "bottom right"))
    at = {"queries": np.arange(2, 5) + past, "keys": np.arange(5) + past}
    pairing: Pairing = "halves" if turn is halves else "neighbours"
    weights = Weights(**arrays)
    trace = oracle.attention(
        x,
        weights,
        heads=4,
        request=request,
        context=tokens,
        positions=Rotary(**at, pairing=pairing),
    )
    truth = oracle.gradients(x, weights, trace, upstream)
    budget = bounds.budget(x, weights, trace, dtype)
    allowed = bounds.gradient_budget(x, weights, trace, truth, upstream, dtype)

    named = {"x": x, "tokens": tokens, **arrays}
    p = {
        n: torch.tensor(a.tolist(), dtype=DTYPES[dtype], requires_grad=True)
        for n, a in named.items()
    }

    def heads(name: str, source: str, number: int) -> Tensor:
        projected = p[source] @ p[name] + p[f"{name}_bias"]
        return projected.unflatten(-1, (number, -1)).transpose(1, 2)

    q = turn(heads("query", "x", 4), torch.tensor(at["queries"].tolist()))
    k = turn(heads("key", "tokens", 2), torch.tensor(at["keys"].tolist()))
    seen = torch.tensor(np.broadcast_to(request.visible, (2, 4, 3, 5)).tolist())
    parts = Parts({"queries": q, "keys": k, "values": heads("value", "tokens", 2)}, seen, request)
    context = eager(parts)["context"].transpose(1, 2).flatten(-2)
    output = context @ p["out"] + p["out_bias"]
    factors = torch.tensor(upstream.tolist(), dtype=DTYPES[dtype])
    found = dict(zip(p, torch.autograd.grad(output, list(p.values()), factors), strict=True))
    shares = {"output": used(trace.output, as_array(output), budget.output)}
    for name, gradient in found.items():
        owner = (
            (truth, allowed) if name in ("x", "tokens") else (truth.parameters, allowed.parameters)
        )
        expected, bound = (getattr(part, name) for part in owner)
        shares[name] = used(expected, as_array(gradient), bound)
    return shares


def test_positions_multiplied_in_a_short_format_leave_the_bound() -> None:
    """Of position 1001 bfloat16 keeps 1000."""

    def coarse(x: Tensor, positions: Tensor) -> Tensor:
        return halves(x, positions.to(torch.bfloat16))

    shares = module_shares(coarse, "float32", 0, past=999)
    assert shares["output"] > 1.0
