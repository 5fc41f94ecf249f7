"""Both oracles give the whole definition: groups, masks, windows, cap, bias, sink, other lengths."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from properties.basics.dtypes import Array
from properties.tests.calls import Call, calls, used
from properties.truth import bounds, oracle, second_oracle, visibility
from properties.truth.attend import Attended, attend, attend_gradients
from properties.truth.bounds import attend_budget, attend_gradient_budget
from properties.truth.parameters import Weights
from properties.truth.positions import Rotary
from properties.truth.request import Request


@given(call=calls())
def test_both_oracles_agree_on_every_call(call: Call) -> None:
    """On context, weights and the logarithm of the denominator."""
    first = attend(*call.arrays, call.request)
    second = second_oracle.attend(*call.arrays, call.request)
    allowed = attend_budget(*call.arrays, call.request, first, "float64")
    for name, array in zip(("context", "weights", "lse"), second, strict=True):
        bound = getattr(allowed, name)
        assert np.isfinite(bound).all()
        assert used(getattr(first, name), array, bound) <= 1.0, name


@given(call=calls(empty=("zeros", "uniform")), seed=st.integers(0, 2**16))
def test_both_oracles_agree_on_every_slope_of_a_call(call: Call, seed: int) -> None:
    """Along a direction of queries, keys, values, biases and sinks at once."""
    g, request = np.random.default_rng(seed), call.request
    attended = attend(*call.arrays, request)
    if request.bias is not None:
        request = replace(request, bias=np.broadcast_to(request.bias, attended.scores.shape))
    found = attend_gradients(*call.arrays, request, attended, call.upstream)
    gradients = {"queries": found.queries, "keys": found.keys, "values": found.values}
    gradients |= {"bias": found.logits} if request.bias is not None else {}
    gradients |= {"sink": found.sink} if found.sink is not None else {}
    directions = {n: g.integers(-1, 2, a.shape).astype(float) for n, a in gradients.items()}
    expected = sum(float((gradients[n] * directions[n]).sum()) for n in gradients)
    slope = second_oracle.attend_slope(*call.arrays, request, directions, call.upstream)
    budget = attend_gradient_budget(
        *call.arrays, request, attended, found, call.upstream, "float64"
    )
    errors = {"bias": budget.logits} | vars(budget)
    allowed = sum(float((errors[n] * abs(directions[n])).sum()) for n in gradients)
    assert abs(slope - expected) <= allowed < np.inf


def module(seed: int) -> tuple[Array, Array, Weights]:
    """Queries of x (2, 3, 5), keys and values of tokens (2, 4, 7); H = 4, G = 2, D = 2, Dv = 3."""
    g = np.random.default_rng(seed)

    def normal(*shape: int) -> Array:
        return g.normal(size=shape)

    weights = Weights(
        normal(5, 8), normal(7, 4), normal(7, 6), normal(8), normal(4), normal(6), normal(12, 5)
    )
    return normal(2, 3, 5), normal(2, 4, 7), replace(weights, out_bias=normal(5))


@given(seed=st.integers(0, 2**16), pairing=st.sampled_from(["halves", "neighbours"]))
def test_both_oracles_agree_on_modules_with_groups_a_context_and_positions(
    seed: int, pairing: str
) -> None:
    """On the output, and on its slope along a direction of inputs and parameters."""
    x, tokens, weights = module(seed)
    asked = {
        "heads": 4,
        "request": Request(visible=visibility.causal(3, 4, "bottom right"), cap=2.0),
        "context": tokens,
        "positions": Rotary(np.arange(3) + 1, np.array([0, 1, 2, 300]), pairing, base=100.0),
    }
    trace = oracle.attention(x, weights, **asked)
    second = second_oracle.output(x, weights, **asked)
    own = bounds.budget(x, weights, trace, "float64", angles="float64").output
    assert np.all(abs(trace.output - second) <= own)
    upstream = np.ones_like(trace.output)
    found = oracle.gradients(x, weights, trace, upstream)
    assert found.tokens is not None
    g = np.random.default_rng(seed + 1)
    direction = {n: g.normal(size=a.shape) for n, a in vars(weights).items()}
    to_x, to_tokens = g.normal(size=x.shape), g.normal(size=tokens.shape)
    expected = (found.x * to_x).sum() + (found.tokens * to_tokens).sum()
    expected += sum((getattr(found.parameters, n) * a).sum() for n, a in direction.items())
    slope = second_oracle.slope(
        x, weights, to_x, Weights(**direction), upstream, to_context=to_tokens, **asked
    )
    budget = bounds.gradient_budget(x, weights, trace, found, upstream, "float64", angles="float64")
    assert budget.tokens is not None
    allowed = (budget.x * abs(to_x)).sum() + (budget.tokens * abs(to_tokens)).sum()
    allowed += sum((getattr(budget.parameters, n) * abs(a)).sum() for n, a in direction.items())
    assert abs(slope - expected) <= allowed < 1e-6


def test_without_weights_a_context_is_keys_and_values() -> None:
    """And without a context, x is everything."""
    x, tokens = (np.random.default_rng(0).normal(size=(1, n, 4)) for n in (2, 3))
    trace = oracle.attention(x, None, causal=False, context=tokens)
    assert (trace.keys[:, 0] == tokens).all()
    assert (trace.queries[:, 0] == x).all()
    own = oracle.attention(x, None, causal=False, context=x)
    assert (own.output == oracle.attention(x, None, causal=False).output).all()


def one(rows: list[list[float]]) -> Array:
    """One head of one item."""
    return np.array(rows, dtype=float)[None, None]


def both(queries: Array, keys: Array, values: Array, request: Request) -> Attended:
    """What the first oracle says, which the second has confirmed."""
    first, (context, _, _) = (
        f(queries, keys, values, request) for f in (attend, second_oracle.attend)
    )
    allowed = attend_budget(queries, keys, values, request, first, "float64").context
    assert used(first.context, context, allowed) <= 1.0
    return first


def test_four_heads_over_two_groups_read_their_own_half() -> None:
    """Heads 0 and 1 the first group, 2 and 3 the second, not every other one."""
    values = np.array([[[[1.0]], [[2.0]]]])  # (1, 2, 1, 1)
    found = both(np.ones((1, 4, 1, 1)), np.ones((1, 2, 1, 1)), values, Request())
    assert found.context[0, :, 0, 0].tolist() == [1.0, 1.0, 2.0, 2.0]


def test_a_cap_comes_before_the_mask_and_so_leaks_nothing() -> None:
    """With c = 2, q = k = 1 and v = (1, 0), the first row is 1. A cap over a hidden score of a large
    negative number makes that -2, and the row 1 / (1 + exp(-2 - 2 tanh(1/2))) = 0.949032.
    """
    ones, values = one([[1.0], [1.0]]), one([[1.0], [0.0]])
    found = both(ones, ones, values, Request(visible=visibility.causal(2, 2), cap=2.0))
    assert found.context[0, 0, 0, 0] == 1.0
    leaked = 1.0 / (1.0 + np.exp(2.0 * np.tanh(-1e9 / 2.0) - 2.0 * np.tanh(0.5)))
    assert leaked == pytest.approx(0.949032, abs=5e-7)


def test_a_mask_of_true_beside_causal_changes_nothing() -> None:
    """It doesn't replace the causal condition."""
    x = np.random.default_rng(0).normal(size=(1, 1, 4, 3))
    causal = visibility.causal(4, 4)
    found, beside = (
        both(x, x, x, Request(visible=seen)) for seen in (causal, causal & np.ones((4, 4), bool))
    )
    assert (found.context == beside.context).all()


def test_the_lse_is_the_logarithm_of_the_denominator() -> None:
    """Of scores log 1, log 2 and log 3 it is log 6, with a sink of log 4 it is log 10."""
    keys = one([[np.log(1.0)], [np.log(2.0)], [np.log(3.0)]])
    found = both(one([[1.0]]), keys, keys, Request(scale=1.0))
    sunk = both(one([[1.0]]), keys, keys, Request(scale=1.0, sink=np.array([np.log(4.0)])))
    assert found.lse[0, 0, 0] == pytest.approx(np.log(6.0))
    assert sunk.lse[0, 0, 0] == pytest.approx(np.log(10.0))
    assert sunk.weights[0, 0, 0] == pytest.approx([0.1, 0.2, 0.3])


@pytest.mark.parametrize(("empty", "gives"), [("zeros", 0.0), ("nan", np.nan), ("uniform", 2.5)])
def test_a_row_that_sees_nothing_gives_what_was_agreed_and_harms_no_other(
    empty: str, gives: float
) -> None:
    """Zeros, NaN, or the mean over all keys, the hidden ones as well."""
    visible = np.array([[True, False], [False, False]])
    values = one([[1.0], [4.0]])
    found = both(values, values, values, Request(visible=visible, empty=empty))
    assert found.context[0, 0, :, 0] == pytest.approx([1.0, gives], nan_ok=True)
    assert found.lse[0, 0, 1] == -np.inf
    upstream = one([[1.0], [1.0]])
    gradients = attend_gradients(
        values, values, values, Request(visible=visible, empty=empty), found, upstream
    )
    assert gradients.values[0, 0, :, 0].tolist() == ([1.5, 0.5] if empty == "uniform" else [1, 0])


def test_a_row_of_a_sink_alone_gives_zeros() -> None:
    """The sink takes all of the weight and has no value."""
    found = both(
        one([[1.0]]),
        one([[1.0]]),
        one([[5.0]]),
        Request(visible=np.zeros((1, 1), bool), sink=np.array([0.5]), empty="nan"),
    )
    assert found.context[0, 0, 0, 0] == 0.0
    assert found.lse[0, 0, 0] == 0.5


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_hidden_may_be_any_number(bad: float) -> None:
    """Key and value both, in values and gradients, behind a mask and behind a bias."""
    g = np.random.default_rng(0)
    q, k, v = (g.normal(size=(1, 2, 3, 2)) for _ in range(3))
    hidden = np.array([True, True, False])
    requests = (Request(visible=hidden), Request(bias=np.where(hidden, 0.0, -np.inf)))
    clean = attend(q, k, v, requests[0])
    expected = attend_gradients(q, k, v, requests[0], clean, q)
    dirty_k, dirty_v = k.copy(), v.copy()
    dirty_k[..., 2, :] = dirty_v[..., 2, :] = bad
    for request in requests:
        found = attend(q, dirty_k, dirty_v, replace(request, cap=None))
        gradients = attend_gradients(q, dirty_k, dirty_v, request, found, q)
        assert np.allclose(found.context, clean.context, atol=1e-15)
        for name in ("queries", "keys", "values"):
            assert np.allclose(getattr(gradients, name), getattr(expected, name), atol=1e-14)


def test_sizes_that_do_not_fit_are_refused() -> None:
    """Three heads over two groups, and widths that make no whole number of groups."""
    with pytest.raises(ValueError, match="divides"):
        attend(*(np.zeros((1, n, 2, 2)) for n in (3, 2, 2)), Request())
    with pytest.raises(ValueError, match="as many keys as values"):
        attend(*(np.zeros((1, 1, n, 2)) for n in (2, 2, 3)), Request())
    x, tokens, weights = module(0)
    with pytest.raises(ValueError, match="3 heads"):
        oracle.attention(x, weights, heads=3, causal=False, context=tokens)
