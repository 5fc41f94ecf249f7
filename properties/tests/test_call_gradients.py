"""Functions of queries, keys and values are asked about the gradients of what they are told."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from properties.cases.call_gradients import agree, slopes, upstream
from properties.cases.question import question
from properties.cases.strategies import pinned_cases
from properties.recognition.targets import find
from properties.spec.clause import clauses

ASKED = [c for c in clauses().values() if "gradients of calls" in c.needs]
SDPA = "torch.nn.functional:scaled_dot_product_attention"


def with_a_bias(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None) -> Tensor:
    z = query @ key.mT / query.shape[-1] ** 0.5
    return (z if bias is None else z + bias).softmax(-1) @ value


@torch.no_grad()
def not_trained(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None) -> Tensor:
    return with_a_bias(query, key, value, bias)


def test_torch_has_the_gradients_of_every_argument_it_takes() -> None:
    sdpa = find(SDPA)[0]
    asked = {law.id for law in ASKED if law.concerns(sdpa)}
    assert asked == {law.id for law in ASKED} - {
        "window/no-gradient-outside-the-window",
        "score/gradient-goes-through-the-cap",
    }


def test_what_has_no_gradient_is_not_asked_for_one() -> None:
    inference = find(not_trained)[0]
    assert not any(law.concerns(inference) for law in ASKED)


def test_a_bias_alone_is_no_boolean_mask() -> None:
    """To a function that adds it, True is the number one."""
    found = find(with_a_bias)[0]
    assert "bias" in found.takes
    assert "mask" not in found.takes


def test_nothing_flows_back_from_a_row_that_sees_nothing() -> None:
    """Its output is a convention, and so is what depends on it."""
    asked = question(pinned_cases(find(SDPA)[0])[0])
    mask = np.ones(asked.shape, dtype=np.bool_)
    mask[:, :, 0] = False
    factors = upstream(asked.changed(mask=mask))
    assert (factors[:, :, 0] == 0.0).all()
    assert (factors[:, :, 1:] > 0.0).all()


def test_the_right_gradients_are_the_slopes_of_the_right_output() -> None:
    """Along one direction of queries, keys, values and bias, by a central difference."""
    case = pinned_cases(find(SDPA)[0])[0]
    asked = question(case, "bias", "scale")
    factors, rng = upstream(asked), np.random.default_rng(0)
    steps = {n: rng.normal(size=a.shape) for n, a in asked.inputs.items()}
    of_bias = rng.normal(size=asked.shape)

    def total(step: float) -> float:
        moved = asked.with_inputs({n: a + step * steps[n] for n, a in asked.inputs.items()})
        output = moved.changed(bias=asked.arguments.bias + step * of_bias).truth.output
        return float((output * factors.swapaxes(1, 2).reshape(output.shape)).sum())

    right = slopes(asked, factors).right
    along = sum((right[n] * step).sum() for n, step in {**steps, "bias": of_bias}.items())
    assert np.isclose(along, (total(1e-5) - total(-1e-5)) / 2e-5, rtol=1e-6)
    assert agree(asked) <= 1.0
