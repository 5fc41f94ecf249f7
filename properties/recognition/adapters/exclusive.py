"""Whether a module takes out of what each head gives what lies along the token's own value, as exclusive
self-attention does.

The definition keeps it, so that nothing can be asked of the weights.

Legend: B batch, T tokens, H heads, D head_dim.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from properties.recognition.adapters import messages
from properties.recognition.adapters.module_subject import ModuleSubject
from properties.recognition.adapters.probe import Probe
from properties.subjects.subject import JOINED_FAMILIES, Config

NONE = 1e-4  # of the lengths of what is given and of the values


def require_none(finished: ModuleSubject) -> None:
    """QuestionError where every row of every head is at right angles to the token's own value."""
    if not finished.has("projections") or finished.family not in JOINED_FAMILIES:
        return
    probe = Probe.of(finished)
    s, weights = probe.sizes, replace(probe.weights, out=np.eye(probe.sizes.width), out_bias=None)
    output = probe.output(finished.build(Config(s, dtype="float32"), weights))
    if output is None or output.shape != (s.batch, s.tokens, s.width):
        return
    given = output.double().numpy().reshape(s.batch, s.tokens, s.heads, s.head_dim)
    value = probe.x.double().numpy() @ weights.value
    value = value.reshape(s.batch, s.tokens, s.key_heads, s.head_dim).repeat(s.shared, axis=2)
    lengths = np.linalg.norm(given, axis=-1) * np.linalg.norm(value, axis=-1)
    along = np.linalg.norm((given * value).sum(axis=-1))
    if not along < NONE * np.linalg.norm(lengths):
        return
    name, target = finished.blueprint.owner, finished.blueprint.target
    raise messages.refusal(
        f"{name} takes out of what each head gives what lies along the token's own value (exclusive "
        "self-attention).",
        "softmax(Q K^T / sqrt(D)) V, of which nothing is taken out",
        "leave that out for the check, by an argument or a subclass, in a factory:",
        messages.factory(name, target, finished.blueprint.arguments.settings),
    )
