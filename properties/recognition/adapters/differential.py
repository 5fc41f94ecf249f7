"""Whether a module takes the difference of two softmaxes, as differential attention does.

Some of its weights are negative, and they do not sum to 1, so that nothing is asked of them.

Legend: B batch, T tokens, H heads, D head_dim.
"""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
from torch import nn

from properties.recognition.adapters.module_subject import ModuleSubject
from properties.recognition.adapters.probe import Probe
from properties.recognition.turning import looks
from properties.subjects.limits import Limits
from properties.subjects.subject import JOINED_FAMILIES, Config

SPOKEN = re.compile(r"\blambdas?_|\blambd\b|_lambdas?\b|\blambdas?\d|diff\w*att", re.IGNORECASE)
WIDE = 8  # columns of a head, more than there are tokens: weights can be read from what it gives
STEEP = 8.0  # how many times as large scores are, so that two softmaxes differ
NEGATIVE = -0.01  # of the largest weight of a row


def leave_weights(finished: ModuleSubject, module: nn.Module) -> None:
    """Ask nothing of the weights where a module speaks of lambda or a difference, and some are negative;
    its heads are of two halves then.
    """
    headed = finished.has("projections") and finished.family in JOINED_FAMILIES
    if not (headed and looks.says(SPOKEN, module) and subtracts(finished)):
        return
    finished.capabilities -= {"projections", "out-projection"}
    reason = (
        "some of its weights are negative, for it takes one softmax from another (differential "
        "attention), and softmax(Q K^T / sqrt(D)) V is what is asked about"
    )
    finished.lacking = {**finished.lacking, "projections": reason}
    finished.lacking["out-projection"] = "the projections cannot be set"
    finished.limits |= Limits(head_dims=2)


def subtracts(finished: ModuleSubject) -> bool:
    """Whether what each head gives is made of its values, and of some of them negatively."""
    sizes = replace(Probe.of(finished).sizes, head_dim=WIDE)
    probe = Probe(
        finished, replace(sizes, d_in=sizes.width) if finished.blueprint.square else sizes
    )
    s, given = probe.sizes, probe.weights
    weights = replace(given, query=STEEP * given.query, out=np.eye(s.width), out_bias=None)
    output = probe.output(finished.build(Config(s, dtype="float32"), weights))
    if output is None or output.shape != (s.batch, s.tokens, s.width):
        return False
    heads = output.double().numpy().reshape(s.batch, s.tokens, s.heads, WIDE).swapaxes(1, 2)
    values = probe.x.double().numpy() @ given.value
    values = values.reshape(s.batch, s.tokens, s.key_heads, WIDE).swapaxes(1, 2)
    values = values.repeat(s.shared, axis=1)
    shares = heads @ np.linalg.pinv(values)
    made_of_them = np.allclose(shares @ values, heads, atol=1e-3 * np.abs(heads).max())
    largest = np.abs(shares).max(axis=-1, keepdims=True)
    return made_of_them and bool((shares < NEGATIVE * largest).any())
