"""gradient/: what training sees."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch
from torch.autograd.gradcheck import GradcheckError
from torch.func import functional_call

from properties.basics.assertions import require
from properties.basics.dtypes import Array
from properties.cases.case import Case, parameters
from properties.cases.devices import with_queries_keys_values
from properties.recognition.adapters.derived import originals
from properties.spec.clause import ENOUGH, Condition, Level, clause
from properties.spec.clauses.conditions import ALIVE, SEVERAL_TOKENS
from properties.spec.clauses.numerics import STEEP, in_half_formats, with_scores
from properties.spec.clauses.oracle import near_gradients
from properties.subjects.instance import Instance, describe, seed_generators
from properties.subjects.subject import PROJECTED_FAMILIES
from properties.truth.parameters import Weights

PROBED = 4  # tokens, of one batch item: a difference quotient runs forward for every number
STEP, ABSOLUTE, RELATIVE = 1e-6, 1e-5, 1e-3  # those of torch.autograd.gradcheck


def moderate(case: Case) -> Case:
    """The case with ordinary input, so that no softmax is saturated and no gradient vanishes."""
    return replace(case, x=case.other)


@lru_cache(maxsize=ALIVE)
def with_steep_scores(case: Case) -> Case:
    """The case with scores of either sign that saturate the softmax, and ordinary values."""
    signs = np.random.default_rng(case.seed).choice([-1.0, 1.0], size=case.sizes.tokens)
    return with_scores(moderate(case), STEEP * signs)


def in_range(case: Case) -> bool:
    """Whether no gradient leaves the range of the format by its own size."""
    return bool(np.isfinite(case.gradient_budget.x).all())


STEEP_IN_RANGE = Condition(
    "two tokens or more, and no gradient that leaves the format's range by its own size",
    lambda case: case.sizes.tokens > 1 and in_range(with_steep_scores(case)),
)


@clause(
    "gradient/gradcheck",
    Level.MUST,
    "The gradients of input and parameters are the slopes of the subject's own output.",
    needs={"module", "float64", "gradients"},
    counts=SEVERAL_TOKENS,
    after=(
        "numerics/deterministic-in-eval",
        "causality/every-past-token-is-seen",
    ),
    examples=ENOUGH,
)
def gradcheck(case: Case) -> None:
    """torch.autograd.gradcheck in float64: central differences against the backward pass, whatever
    the forward pass computes. It needs no weights to be set. Where queries and keys are turned in
    float32, steps are longer, so that what that rounds is no slope.
    """
    small = few_tokens(case)
    output, leaves = differentiable(small)
    seed_generators(small.seed)  # the fast mode projects on random directions
    try:
        torch.autograd.gradcheck(output, leaves, fast_mode=True)
    except GradcheckError as error:
        text = " ".join(str(error).split())
        right = turned_in_float32(small) and torch.autograd.gradcheck(
            output, leaves, eps=1e-3, atol=1e-3, rtol=1e-2, fast_mode=True, raise_exception=False
        )
        require(right, "gradients that are the output's slopes", text[:200])
    except Exception as error:  # backward or forward of the subject raised
        if "use_reentrant" in str(error):
            return require_slopes(small)
        require(False, "a backward pass", f"it raised {describe(error)}")


def turned_in_float32(case: Case) -> bool:
    """Whether positions turn queries and keys of float64 by angles of float32."""
    positions = case.subject.positions
    return positions is not None and positions.angles("float64") == "float32"


def few_tokens(case: Case) -> Case:
    """The case's first item in float64, with as few tokens as a difference quotient has time for."""
    tokens = range(min(PROBED, case.sizes.tokens))
    return replace(moderate(case).take(batch=[0], tokens=tokens), dtype="float64")


def differentiable(case: Case) -> tuple[Callable[..., torch.Tensor], list[torch.Tensor]]:
    """A new instance as a function of its input and parameters, and these as leaves."""
    instance = case.build()
    instance.module.eval()
    named = {n: p.detach() for n, p in instance.module.named_parameters()}
    x = instance.tensor(case.x if instance.batched else case.x[0])

    def output(x: torch.Tensor, *values: torch.Tensor) -> torch.Tensor:
        given = dict(zip(named, values, strict=True))
        result: torch.Tensor = functional_call(instance.module, given, (x,))
        return result

    return output, [leaf.clone().requires_grad_() for leaf in (x, *named.values())]


def require_slopes(case: Case) -> None:
    """What gradcheck asks, by backward(): checkpointing with reentry forbids torch.autograd.grad.

    Each gradient is compared with a central difference along one random direction.
    """
    instance, rng = case.build(), np.random.default_rng(case.seed)
    upstream = rng.normal(size=(case.sizes.batch, case.sizes.tokens, case.sizes.width))
    for name, gradient in instance.gradients(case.x, upstream).items():
        step = rng.normal(size=gradient.shape)
        ends = [moved(instance, case.x, name, sign * STEP * step) for sign in (1.0, -1.0)]
        slope = float((upstream * (ends[0] - ends[1])).sum()) / (2.0 * STEP)
        found = float((gradient * step).sum())
        near = abs(found - slope) <= ABSOLUTE + RELATIVE * abs(slope)
        expected = "gradients that are the output's slopes"
        require(near, expected, f"{found:.6g} along a direction of {name}, its slope {slope:.6g}")


def moved(instance: Instance, x: Array, name: str, step: Array) -> Array:
    """The output with the input, or the parameter of that name, moved by a step."""
    if name == "x":
        return instance.run(x + step)
    parameter = instance.module.get_parameter(name)
    before = parameter.detach().clone()
    parameter.data += instance.tensor(step)
    output = instance.run(x)
    parameter.data.copy_(before)
    return output


@clause(
    "gradient/second-derivative",
    Level.SHOULD,
    "The gradient, differentiated once more, has the slopes that it has, or refuses to be.",
    needs={"module", "float64", "gradients"},
    counts=SEVERAL_TOKENS,
    after=("gradient/gradcheck",),
    examples=4,
)
def second_derivative(case: Case) -> None:
    """The slope of the gradient along a direction, by double backward and as a central difference. A
    backward pass that is written by hand and keeps what it needs as plain numbers gives second
    derivatives that lack a part, without a word; PyTorch has `once_differentiable` for it, which
    raises. No MUST: ordinary training takes one derivative; penalties on gradients, meta-learning and
    curvature take two.
    """
    small = few_tokens(case)
    instance = small.build()
    x = instance.tensor(small.x if instance.batched else small.x[0]).requires_grad_()
    # Its own parameters: what is computed again on the way back reads no others.
    leaves = [x, *(p for p in instance.module.parameters() if p.requires_grad)]
    rng = np.random.default_rng(small.seed)
    along, step = ([torch.tensor(rng.normal(size=leaf.shape)) for leaf in leaves] for _ in range(2))

    def gradient(twice: bool = False) -> torch.Tensor:
        """The gradient of the output's sum of squares along the first direction."""
        total = instance.forward(x).square().sum()
        found = torch.autograd.grad(total, leaves, create_graph=twice, allow_unused=True)
        parts = [(g * d).sum() for g, d in zip(found, along, strict=True) if g is not None]
        return torch.stack(parts).sum()

    instance.module.eval()
    try:
        total = gradient(twice=True)
        if total.requires_grad:
            total.backward()
    except Exception:  # it refuses, or no kernel has a second derivative: that is said aloud
        return
    parts = [(leaf.grad, d) for leaf, d in zip(leaves, step, strict=True) if leaf.grad is not None]
    found = sum(float((part * d).sum()) for part, d in parts)
    slope = central_difference(gradient, leaves, step)
    near = abs(found - slope) <= ABSOLUTE + RELATIVE * abs(slope)
    require(near, f"a second derivative along a direction of {slope:.6g}", f"{found:.6g}")


def central_difference(
    function: Callable[[], torch.Tensor], leaves: list[torch.Tensor], step: list[torch.Tensor]
) -> float:
    """The slope of a number along a direction of all leaves, which are left moved."""
    start, ends = [leaf.detach().clone() for leaf in leaves], []
    for sign in (1.0, -1.0):
        for leaf, before, direction in zip(leaves, start, step, strict=True):
            leaf.data.copy_(before + sign * STEP * direction)
        ends.append(float(function()))
    return (ends[0] - ends[1]) / (2.0 * STEP)


@clause(
    "gradient/low-precision-within-bound",
    Level.MUST,
    "In bfloat16 and float16, where the subject runs in them, the gradients are the formula's to "
    "rounding.",
    families=PROJECTED_FAMILIES,
    needs={"projections", "module", "half-precision", "gradients"},
    after=("oracle/gradient-within-bound", "numerics/low-precision-within-bound"),
    examples=4,
)
def low_precision_within_bound(case: Case) -> float:
    """The way back often has a kernel, or a cast, of its own for each format. Two tokens of opposite
    values are asked, with all queries and with all keys near zero in turn: the budget of a short
    format is then smaller than every gradient.
    """
    shares = [
        near_gradients(f"in {probe.dtype} ", probe, probe.gradients)
        for probe in two_tokens_in_half_formats(case)
    ]
    return max(shares, default=0.0)


def two_tokens_in_half_formats(case: Case) -> Iterator[Case]:
    """`two_tokens` of the case in each short format that the subject claims."""
    for half in in_half_formats(case):
        yield from two_tokens(half)


def two_tokens(case: Case) -> Iterator[Case]:
    """One item and one head of two tokens, opposite in their values, with equal scores."""
    signs = np.array([1.0, -1.0]).reshape(1, 1, 2, 1)
    one, zero = np.ones_like(signs), np.zeros_like(signs)
    for queries, keys in ((one, zero), (zero, signs)):
        yield with_queries_keys_values(case, queries, keys, signs)


@clause(
    "gradient/every-parameter-receives-gradient",
    Level.MUST,
    "Every parameter but the key bias has a gradient that is not zero.",
    families=PROJECTED_FAMILIES,
    needs={"module", "gradients"},
    counts=SEVERAL_TOKENS,
    after=("gradient/gradcheck",),
    examples=ENOUGH,
)
def every_parameter_receives_gradient(case: Case) -> None:
    """A parameter without a gradient is not part of the computation, or cut off from it. Where the
    adapter says what a parameter carries, it is asked for where the formula's gradient is clearly
    not zero: not for a key bias, which adds q.b to every score of a row alike, so that softmax takes
    it out again; and not for queries and keys of one token alone, whose weight is always one. Where it
    does not, one that has a gradient at other numbers is part of the computation: a matrix beside one
    of zeros, a layer before a ReLU that lets nothing through. What a weight is computed from
    (torch.nn.utils.parametrize) is left to gradient/gradcheck.
    """
    probe = moderate(case)
    instance = probe.build()
    gradients = instance.gradients(probe.x, probe.upstream)
    shapes = {name: array.shape for name, array in gradients.items() if name != "x"}
    left_out = originals(instance.module) | case.subject.extras.keys()
    for name in shapes:
        if name in left_out or np.any(gradients[name] != 0):
            continue
        marked = {n: np.full(shape, float(n == name)) for n, shape in shapes.items()}
        carried = case.subject.collect(marked, case.config())
        found = not is_cut_off(probe, name, gradients[name], carried)
        require(found, f"a gradient for {name} that is not zero", "zeros alone")


def is_cut_off(case: Case, name: str, gradient: Array, carried: Weights | None) -> bool:
    """Whether a parameter whose gradient is zeros alone, and that carries this of ours, must have another:
    not one that holds no numbers.
    """
    if gradient.size == 0 or not expects_gradient(case, carried, gradient.ndim):
        return False
    return bool(ours_in(carried)) or not receives_elsewhere(case, name)


DRAWS, INPUTS = 16, 12
MODERATE = 0.5  # what is added to parameters, in standard deviations
SIZES = (1.0, 0.25, 0.03)
"""Of inputs: large scores saturate the softmax, small ones leave signs to biases."""


def receives_elsewhere(case: Case, name: str) -> bool:
    """Whether a parameter has a gradient with other numbers in every parameter and in the input. They are
    many: a layer of one row before a ReLU lets nothing through in half of them, four such layers in most.
    """
    for draw in range(DRAWS):
        rng, instance = np.random.default_rng((case.seed, draw)), case.build()
        with torch.no_grad():
            for parameter in filter(torch.is_floating_point, instance.module.parameters()):
                parameter.add_(torch.tensor(MODERATE * rng.normal(size=parameter.shape)))
        for number in range(INPUTS):
            x = SIZES[number % len(SIZES)] * rng.normal(size=case.x.shape)
            upstream = rng.normal(size=case.upstream.shape)
            if np.any(instance.gradients(x, upstream)[name] != 0):
                return True
    return False


def ours_in(carried: Weights | None) -> list[str]:
    """The names of our parameters that one of the subject's carries."""
    return [] if carried is None else [n for n, a in parameters(carried).items() if np.any(a)]


def expects_gradient(case: Case, carried: Weights | None, axes: int) -> bool:
    """Whether a parameter must have a gradient: one with so many axes that carries this of ours.

    Where the adapter cannot say what it carries, a vector may be a key bias.
    """
    if carried is None:
        return axes > 1 and case.sizes.tokens > 1
    found, allowed = case.gradients.parameters, case.gradient_budget.parameters
    ours = ours_in(carried)
    if not ours:  # nothing of ours: it should not be there, or take part
        return case.sizes.tokens > 1
    known = [name for name in ours if getattr(found, name) is not None]  # no bias nobody asked for
    return any(
        bool(np.any(abs(getattr(found, name)) > 2.0 * getattr(allowed, name))) for name in known
    )


@clause(
    "gradient/gradients-are-finite-for-large-scores",
    Level.MUST,
    "Scores far beyond the range of the exponential give finite gradients.",
    families=PROJECTED_FAMILIES,
    needs={"projections", "gradients"},
    counts=STEEP_IN_RANGE,
    after=("numerics/large-scores-stay-finite",),
    examples=ENOUGH,
)
def gradients_are_finite_for_large_scores(case: Case) -> None:
    """A saturated softmax has small gradients, not NaN: infinity must not meet zero on the way back."""
    steep = with_steep_scores(case)
    if not in_range(steep):
        return
    for name, gradient in steep.build().gradients(steep.x, steep.upstream).items():
        require(all_finite(gradient), f"a finite gradient of {name}", "NaN or infinity")


def all_finite(array: Array) -> bool:
    """Whether no entry is NaN or infinite."""
    return bool(np.isfinite(array).all())
