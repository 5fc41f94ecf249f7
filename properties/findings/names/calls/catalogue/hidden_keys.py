"""Wrong ways to hide keys in functions of queries, keys and values: too late, or by next to nothing.

Legend: B batch, H heads, T queries, S keys.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from properties.cases.question import Question, Truth
from properties.findings.names.calls.catalogue import form
from properties.findings.names.calls.catalogue.masks import added, shown
from properties.findings.names.calls.catalogue.of_modules import AFTER, ZERO
from properties.findings.names.calls.form import RefusedError
from properties.subjects.call import Seen
from properties.truth.attend import attend, repeated
from properties.truth.oracle import merge

MASKS = ("mask", "padding")


def seen_by(asked: Question) -> Seen:
    """(B, H, T, S): what the caller shows."""
    padding = asked.arguments.padding
    return shown(asked) & (True if padding is None else padding[:, None, None, :])


def unhidden(asked: Question) -> Question:
    """The same without what the caller hides; RefusedError of a module."""
    if not asked.function:
        raise RefusedError("tokens are asked about")
    return asked.changed(mask=None, padding=None)


def zeroed(asked: Question, truth: Truth) -> Truth:
    """Weights of all keys, of which those that are hidden become zero."""
    shares = truth.weights * seen_by(asked)
    values = repeated(asked.inputs["values"], asked.shape[1])
    return replace(truth, output=merge(shares @ values), weights=shares)


form("mask after the softmax", AFTER, *MASKS, asks=unhidden, gives=zeroed)


def like_others(asked: Question) -> Question:
    """The fill is no lower than other scores, or the scores are multiplied by the mask."""
    open_ = unhidden(asked)
    queries, keys, values = (open_.inputs[name] for name in ("queries", "keys", "values"))
    logits = attend(queries, keys, values, open_.request).logits
    return open_.changed(bias=added(open_, np.where(seen_by(asked), 0.0, -logits)))


def by_the_scores(asked: Question, truth: Truth) -> Truth:
    """The answer, of which no gradient is claimed: what was added goes by the scores."""
    return truth


form("a hidden score is zero", ZERO, *MASKS, asks=like_others, gives=by_the_scores)
