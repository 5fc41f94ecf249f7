"""The bounds hold where queries and keys are turned, at any position, and around it in modules."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from properties.basics.dtypes import FORMATS
from properties.tests.calls import used
from properties.tests.forms import DTYPES, Parts, as_array, eager
from properties.truth import bounds, oracle, visibility
from properties.truth.bounds.arithmetic import exactly
from properties.truth.bounds.positions import turned
from properties.truth.parameters import Weights
from properties.truth.positions import Pairing, Rotary
from properties.truth.request import Request

VISIBLE = 1e-3  # a bound a thousand times as wide as what rounding makes of it shows less


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
