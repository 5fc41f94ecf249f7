"""Scripts about gradients: against the formula's, against slopes, against zero."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from properties.basics.dtypes import Array
from properties.cases.budgets.causality import hidden_gradient
from properties.cases.case import Case, parameters
from properties.findings.recording import Tape, built
from properties.findings.scripts import text
from properties.findings.scripts.asking import given, one_item
from properties.findings.scripts.outputs import differ
from properties.findings.scripts.recipes import recipe
from properties.findings.scripts.script import Script
from properties.recognition.adapters.derived import originals
from properties.spec.clauses import gradient as clauses
from properties.spec.clauses.conditions import before_the_end
from properties.spec.clauses.heads import (
    chosen_head,
    head_columns,
    of_chosen_head,
    separate_inputs,
)
from properties.subjects.instance import to_array
from properties.truth.parameters import Weights


@recipe("oracle/gradient-within-bound", "groups/weights-get-the-gradients-of-all-their-heads")
def gradient_within_bound(case: Case, tape: Tape) -> Iterator[Script]:
    """The gradient of the input, or of a parameter, is not the formula's."""
    found = case.build().gradients(case.x, case.upstream)
    expected = {"x": case.gradients.x, **laid_down(case, case.gradients.parameters)}
    allowed = {"x": case.gradient_budget.x, **laid_down(case, case.gradient_budget.parameters)}
    for name in expected:
        if name in found and differ(found[name], expected[name], allowed[name]).any():
            script = differentiated(case, name, case.upstream)
            compare(script, case, name, expected[name], allowed[name])
            yield script


@recipe("gradient/low-precision-within-bound")
def low_precision(case: Case, tape: Tape) -> Iterator[Script]:
    """The same in bfloat16 or float16."""
    for probe in clauses.two_tokens_in_half_formats(case):
        yield from gradient_within_bound(probe, tape)


def laid_down(case: Case, weights: Weights | None) -> dict[str, Array]:
    """Numbers in our layout as the module's own parameters hold them, by its names.

    They are written as weights are. What no weight of ours reaches is NaN: nothing is claimed, nor
    is anything of what weights are computed from.
    """
    if weights is None or originals(case.build().module):
        return {}
    marks = replace(
        weights, **{n: np.full(a.shape, np.inf) for n, a in parameters(weights).items()}
    )
    double = replace(case.config(), dtype="float64")
    ours, reached = (
        case.subject.build(double, part).named_parameters() for part in (weights, marks)
    )
    return {
        name: np.where(np.isinf(to_array(mark)), to_array(number), np.nan)
        for (name, number), (_, mark) in zip(ours, reached, strict=True)
    }


def differentiated(case: Case, name: str, upstream: Array) -> Script:
    """A module, a call, and the gradient of one of its leaves in `gradient`."""
    script = Script(case.subject)
    module = script.build(built(case))
    x = given(script, case)
    leaf = x if name == "x" else f"{module}.get_parameter({name!r})"
    script.add(
        f"upstream = {text.tensor(one_item(case, upstream))}.to({x}.dtype)",
        f"{module}.eval()",
        "try:",
        f"    output = {module}({x}.requires_grad_())",
        "    output.backward(upstream)",
        "except Exception as error:",
        "    raise AssertionError(f'expected a gradient, got {error!r}') from error",
        f"leaf = {leaf}",
        "gradient = torch.zeros_like(leaf) if leaf.grad is None else leaf.grad",
    )
    return script


def compare(script: Script, case: Case, name: str, expected: Array, allowed: Array) -> None:
    """The gradient against numbers."""
    if name == "x":
        expected, allowed = (one_item(case, part) for part in (expected, allowed))
    allowed = np.where(np.isnan(allowed) | np.isnan(expected), np.inf, allowed)
    script.add(
        f"expected = {text.tensor(np.nan_to_num(expected))}",
        f"allowed = {text.slack(allowed)}",
        "near(gradient, expected, allowed)",
    )


@recipe("causality/future-gradient-is-zero")
def future_gradient(case: Case, tape: Tape) -> Iterator[Script]:
    """The upstream is zero after a token; the gradient is to be."""
    kept = before_the_end(case) + 1
    upstream = case.upstream.copy()
    upstream[:, kept:] = 0.0
    found = case.build().gradients(case.x, upstream)["x"]
    allowed = np.broadcast_to(hidden_gradient(case, upstream, found), found.shape).copy()
    allowed[:, :kept] = np.inf
    script = differentiated(case, "x", upstream)
    compare(script, case, "x", np.zeros_like(found), allowed)
    yield script


@recipe("heads/head-isolation-in-gradients")
def head_isolation(case: Case, tape: Tape) -> Iterator[Script]:
    """The upstream is zero but for one head; so is the gradient but for what that head reads."""
    probe, head = separate_inputs(case), chosen_head(case)
    upstream = np.zeros_like(probe.upstream)
    columns = head_columns(probe, head)
    upstream[..., columns] = probe.upstream[..., columns]
    allowed = np.where(of_chosen_head(probe, head), np.inf, np.zeros(probe.x.shape))
    script = differentiated(probe, "x", upstream)
    compare(script, probe, "x", np.zeros(probe.x.shape), allowed)
    yield script


@recipe("gradient/gradients-are-finite-for-large-scores")
def finite(case: Case, tape: Tape) -> Iterator[Script]:
    """No gradient is NaN or infinite where the softmax is saturated."""
    steep = clauses.with_steep_scores(case)
    for name, gradient in steep.build().gradients(steep.x, steep.upstream).items():
        if not np.isfinite(gradient).all():
            script = differentiated(steep, name, steep.upstream)
            script.add(
                "assert gradient.isfinite().all(), f'expected finite numbers, got {gradient}'"
            )
            yield script


@recipe("gradient/every-parameter-receives-gradient")
def alive(case: Case, tape: Tape) -> Iterator[Script]:
    """A parameter has a gradient that is not zero."""
    probe = clauses.moderate(case)
    instance = probe.build()
    gradients = instance.gradients(probe.x, probe.upstream)
    shapes = {name: array.shape for name, array in gradients.items() if name != "x"}
    for name in shapes.keys() - originals(instance.module):
        marked = {n: np.full(size, float(n == name)) for n, size in shapes.items()}
        carried = case.subject.collect(marked, case.config())
        if clauses.is_cut_off(probe, name, gradients[name], carried):
            script = differentiated(probe, name, probe.upstream)
            script.add(f"assert gradient.any(), 'expected a gradient for {name} that is not zero'")
            yield script


@recipe("gradient/gradcheck")
def gradcheck(case: Case, tape: Tape) -> Iterator[Script]:
    """Torch's own comparison of gradients with slopes."""
    small = clauses.few_tokens(case)
    script = Script(case.subject)
    module = script.build(built(small))
    x = given(script, small)
    script.add(
        f"{module}.eval()",
        f"names, values = zip(*{module}.named_parameters(), strict=True)",
        f"leaves = [leaf.detach().clone().requires_grad_() for leaf in ({x}, *values)]",
        "",
        "",
        "def output(x, *values):",
        f"    return torch.func.functional_call({module}, dict(zip(names, values)), (x,))",
        "",
        "",
        f"torch.manual_seed({small.seed})",
        "try:",
        "    torch.autograd.gradcheck(output, leaves, fast_mode=True)",
        "except Exception as error:",
        "    raise AssertionError(f'expected the slopes of the output, got {error}') from error",
    )
    yield script


@recipe("gradient/second-derivative")
def second_derivative(case: Case, tape: Tape) -> Iterator[Script]:
    """The gradient along a direction, differentiated, against its slope; it may refuse to be."""
    small = clauses.few_tokens(case)
    script = Script(case.subject)
    module = script.build(built(small))
    x = given(script, small)
    script.add(
        f"{module}.eval()",
        f"parameters = [p for p in {module}.parameters() if p.requires_grad]",
        f"leaves = [{x}.requires_grad_(), *parameters]",
        f"torch.manual_seed({small.seed})",
        "along, step = ([torch.randn_like(leaf) for leaf in leaves] for _ in range(2))",
        "",
        "",
        "def gradient(twice=False):",
        f"    total = {module}({x}).square().sum()",
        "    found = torch.autograd.grad(total, leaves, create_graph=twice, allow_unused=True)",
        "    return sum((g * d).sum() for g, d in zip(found, along, strict=True) if g is not None)",
        "",
        "",
        "found = None",
        "with suppress(Exception):",
        "    total = gradient(twice=True)",
        "    if total.requires_grad:",
        "        total.backward()",
        "    found = [0.0 if leaf.grad is None else leaf.grad for leaf in leaves]",
        "if found is not None:  # refused would be right, too",
        "    found = sum(float((g * d).sum()) for g, d in zip(found, step, strict=True))",
        "    ends = []",
        "    for sign in (1.0, -2.0):",
        "        for leaf, d in zip(leaves, step, strict=True):",
        f"            leaf.data += sign * {clauses.STEP:g} * d",
        "        ends.append(float(gradient()))",
        f"    slope = (ends[0] - ends[1]) / {2 * clauses.STEP:g}",
        f"    allowed = {clauses.ABSOLUTE:g} + {clauses.RELATIVE:g} * abs(slope)",
        "    got = f'expected a second derivative of {slope:.6g}, got {found:.6g}'",
        "    assert abs(found - slope) <= allowed, got",
    )
    yield script
