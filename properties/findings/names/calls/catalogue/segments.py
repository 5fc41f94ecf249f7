"""Wrong segments."""

from __future__ import annotations

import numpy as np

from properties.cases.question import Question
from properties.findings.names.calls.catalogue import asks
from properties.subjects.call import Lengths

LOOK = "where segments are compared"


def told(asked: Question) -> Lengths:
    """The segments, (B, T)."""
    return np.asarray(asked.arguments.segments)


@asks("segments ignored", LOOK, "segments")
def ignored(asked: Question) -> Question:
    """Nothing is hidden by them."""
    return asked.changed(segments=None)


@asks("segments of the first item", LOOK, "segments")
def of_the_first_item(asked: Question) -> Question:
    """The other items' are never read."""
    return asked.changed(segments=np.broadcast_to(told(asked)[:1], told(asked).shape))


@asks("earlier segments are seen", LOOK, "segments")
def earlier_ones_are_seen(asked: Question) -> Question:
    """At most as late, for the same."""
    segments, mask = told(asked), asked.arguments.mask
    seen = segments[:, None, :, None] >= segments[:, None, None, :]
    return asked.changed(segments=None, mask=seen if mask is None else seen & mask)


@asks("segments replace causal", "the branch that segments lead into", "segments")
def replace_causal(asked: Question) -> Question:
    """The flag is forgotten."""
    return asked.changed(causal=False)


@asks("causal replaces segments", "the branch that the causal flag leads into", "segments")
def replaced_by_causal(asked: Question) -> Question:
    """Segments are forgotten beside the flag."""
    return asked.changed(segments=None) if asked.arguments.causal else asked
