"""What comes back: the gradients of the parameters."""

from __future__ import annotations

import numpy as np

from properties.basics.dtypes import Array
from properties.cases.case import Case, parameters
from properties.findings.names.examples import Example
from properties.findings.names.probes import ordinary, probe
from properties.findings.names.probes.owned import weight_is_a_buffer, weight_is_plain

GRADIENTS = frozenset(
    {
        "gradient/gradcheck",
        "gradient/every-parameter-receives-gradient",
        "oracle/gradient-within-bound",
    }
)


def gradients(case: Case) -> dict[str, Array]:
    """Those of the parameters by our names; none where the subject cannot say."""
    found = case.build().gradients(case.x, case.upstream)
    named = {name: array for name, array in found.items() if name != "x"}
    return parameters(case.subject.collect(named, case.config()))


def cut_off(case: Case) -> set[str]:
    """The parameters that have no gradient though the formula's is clearly not zero."""
    if not case.known or case.weights is None:
        return set()
    probe = ordinary(case)
    right = parameters(probe.gradients.parameters)
    allowed = parameters(probe.gradient_budget.parameters)
    return {
        name
        for name, array in gradients(probe).items()
        if not array.any() and bool((np.abs(right[name]) > 2.0 * allowed[name]).any())
    }


CUT = {
    "no gradient reaches the keys": {"key"},
    "no gradient reaches the queries": {"query"},
    "no gradient reaches the values": {"value"},
    "no gradient reaches queries and keys: the weights are detached": {"query", "key"},
    "no gradient reaches the value bias": {"value_bias"},
}


def entered(called: str, names: set[str]) -> None:
    """Enter parameters that are cut off, all of them and no others; a key bias never has a gradient."""

    @probe(called, "detach, no_grad or .data", GRADIENTS)
    def asks(case: Case) -> bool:
        if weight_is_plain(case) or weight_is_a_buffer(case) or not Example(ordinary(case)).right:
            return False  # then there is another reason
        biases = {"query_bias"} if "query" in names else set()
        return names <= cut_off(case) <= names | biases | {"key_bias"}


for called, names in CUT.items():
    entered(called, names)


@probe(
    "gradients of queries and keys are half of what they should be", "a custom backward", GRADIENTS
)
def halved(case: Case) -> bool:
    """And those of the values are right."""
    if not case.known or case.weights is None:
        return False
    probe = ordinary(case)
    right = parameters(probe.gradients.parameters)
    allowed = parameters(probe.gradient_budget.parameters)
    factor = {"query": 0.5, "key": 0.5, "value": 1.0}
    found = gradients(probe)
    return all(
        name in found
        and bool((np.abs(found[name] - f * right[name]) <= allowed[name]).all())
        and bool((np.abs(right[name]) > 4.0 * allowed[name]).any())
        for name, f in factor.items()
    )
