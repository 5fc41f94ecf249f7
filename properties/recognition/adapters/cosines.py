"""Whether a module scores queries and keys by their directions alone, as cosine attention does, and a norm
of queries and keys.

The definition has their lengths in it, so that nothing can be asked of the weights. What a norm that is a
layer does is taken out (see `norms`); what is computed in forward is refused.
"""

from __future__ import annotations

import re
from dataclasses import replace

from torch import Tensor, nn

from properties.recognition.adapters import messages, trials
from properties.recognition.adapters.module_subject import ModuleSubject
from properties.recognition.adapters.probe import Probe
from properties.recognition.turning import looks
from properties.subjects.subject import Config

SPOKEN = re.compile(
    r"\bnormalize\(|cosine|\bnorm\(|(rms|layer|vector)_?norm\(|rsqrt", re.IGNORECASE
)


def require_none(finished: ModuleSubject, module: nn.Module) -> None:
    """QuestionError where a module speaks of a norm, and gives the same for queries and for keys that are
    twice as long.
    """
    if not (finished.has("projections") and looks.says(SPOKEN, module)):
        return
    probe = Probe.of(finished)
    plain, queries, keys, turned = (
        answered(probe, query, key) for query, key in ((1, 1), (2, 1), (1, 2), (-1, 1))
    )
    if plain is None or queries is None or keys is None or turned is None:
        return
    if not (trials.same(plain, queries) and trials.same(plain, keys)) or trials.same(plain, turned):
        return
    name, target = finished.blueprint.owner, finished.blueprint.target
    raise messages.refusal(
        f"{name} scores queries and keys by their directions alone: twice as long, they give the same "
        "output, and negated, another (cosine attention, or a norm of queries and keys).",
        "scores that are the products of queries and keys; norms that are layers are taken out here",
        "make the norms layers of their own, such as self.q_norm = nn.RMSNorm(head_dim), or leave them "
        "out for the check, in a factory:",
        messages.factory(name, target, finished.blueprint.arguments.settings),
    )


def answered(probe: Probe, query: float, key: float) -> Tensor | None:
    """The output for queries and keys that are so many times as long."""
    given = probe.weights
    weights = replace(given, query=query * given.query, key=key * given.key)
    return probe.output(probe.subject.build(Config(probe.sizes, dtype="float32"), weights))
