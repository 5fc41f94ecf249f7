"""The bounds of calls hold for every way to compute them, in every format, and are not idle.

Each form is differentiated by autograd.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given

from properties.basics.dtypes import FORMATS, Array
from properties.tests.calls import Call, calls, used
from properties.tests.forms import DTYPES, FORMS, Form, as_array, asked_of, eager, parts_of
from properties.truth import visibility
from properties.truth.attend import attend, attend_gradients
from properties.truth.bounds import attend_budget, attend_gradient_budget
from properties.truth.request import Request

VISIBLE = 1e-3  # a bound a thousand times as wide as what rounding makes of it shows less


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


def whole() -> Call:
    """A call with every term: H = 4 over G = 2, T = 5, S = 7, D = 4, Dv = 3."""
    g = np.random.default_rng(3)

    def normal(*shape: int) -> Array:
        return FORMATS["bfloat16"].round(g.normal(size=shape))

    request = Request(
        visible=visibility.window(5, 7, 3, 1, "bottom right"),
        scale=0.75,
        cap=2.0,
        bias=normal(4, 5, 7),
        sink=normal(4),
    )
    return Call(
        normal(2, 4, 5, 4), normal(2, 2, 7, 4), normal(2, 2, 7, 3), request, normal(2, 4, 5, 3)
    )


def asking(**change: object) -> Callable[[Call], Call]:
    """The same call with another request."""
    return lambda call: replace(call, request=replace(call.request, **change))


def other_groups(call: Call) -> Call:
    """Head h reads group h % G, where there are two of two heads."""
    at = [0, 1, 0, 1]
    return replace(call, keys=call.keys[:, at], values=call.values[:, at])


WRONG = {
    "twice the scale": asking(scale=1.5),
    "no cap": asking(cap=None),
    "half the cap": asking(cap=1.0),
    "no bias": asking(bias=None),
    "no sink": asking(sink=None),
    "one key more": asking(visible=visibility.window(5, 7, 4, 1, "bottom right")),
    "aligned top left": asking(visible=visibility.window(5, 7, 3, 1)),
    "groups in turns": other_groups,
    "a scaled bias": lambda call: asking(bias=0.75 * whole().request.bias)(call),
}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_term_leaves_the_bounds_of_a_call(wrong: str, dtype: str) -> None:
    """Of weights, context and LSE, all three in float32 and one of them in a short format."""
    call = whole()
    truth = attend(*call.arrays, call.request)
    allowed = attend_budget(*call.arrays, call.request, truth, dtype)
    found = eager(parts_of(WRONG[wrong](call), DTYPES[dtype]))
    shares = [used(getattr(truth, n), as_array(t), getattr(allowed, n)) for n, t in found.items()]
    assert (min if dtype == "float32" else max)(shares) > 1.0
