"""Wrong scores: the scale, the cap, the slopes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from properties.cases.question import Question, Truth
from properties.findings.names.calls.catalogue import asks, form
from properties.findings.names.calls.catalogue.masks import added, logits, scaled, with_logits
from properties.truth import visibility

FACTOR = "what the scores are multiplied by"
CAP = "where the cap is taken"
SLOPES = "the bias that grows with distance"


def default(asked: Question) -> float:
    """1 / sqrt(D)."""
    sizes, inputs = asked.case.sizes, asked.inputs
    return float((inputs["queries"].shape[-1] if asked.function else sizes.head_dim) ** -0.5)


def factor(asked: Question) -> float:
    """What the scores are multiplied by."""
    scale = asked.arguments.scale
    return default(asked) if scale is None else scale


@asks("scale ignored", FACTOR, "scale")
def scale_ignored(asked: Question) -> Question:
    """The default is used."""
    return asked.changed(scale=None)


@asks("scale squared", FACTOR, "scale")
def scale_squared(asked: Question) -> Question:
    """Applied to queries and to keys."""
    return asked.changed(scale=factor(asked) ** 2)


@asks("scale multiplied by the default", FACTOR, "scale")
def scale_beside_the_default(asked: Question) -> Question:
    """On top of it."""
    return asked.changed(scale=factor(asked) * default(asked))


@asks("scale divides", FACTOR, "scale")
def scale_divides(asked: Question) -> Question:
    """Taken for a divisor."""
    return asked.changed(scale=1.0 / factor(asked) if factor(asked) else np.inf)


@asks("scale of zero taken for none", FACTOR, "scale")
def zero_taken_for_none(asked: Question) -> Question:
    """`scale or default`."""
    return asked.changed(scale=factor(asked) or None)


@asks("scale multiplies the mask, too", "where the scale is applied", "bias")
def scale_multiplies_the_bias(asked: Question) -> Question:
    """Applied after the bias is added; what is hidden stays hidden."""
    return asked.changed(bias=np.asarray(asked.arguments.bias) * factor(asked))


@asks("scale multiplies the slopes, too", "where the scale is applied", "slopes")
def scale_multiplies_the_slopes(asked: Question) -> Question:
    """Applied after the distance is taken off."""
    return asked.changed(slopes=np.asarray(asked.arguments.slopes) * factor(asked))


@asks("scale multiplies the slopes, too", "where the scale is applied", "slopes")
def scale_and_cap_take_the_slopes(asked: Question) -> Question:
    """The distance is taken off before both."""
    cap, biased = asked.arguments.cap, asked.changed(cap=None, slopes=None)
    distance = asked.changed(bias=None, cap=None).request.bias
    wanted = scaled(biased) + np.asarray(distance) * factor(asked)
    wanted = wanted if cap is None else cap * np.tanh(wanted / cap)
    return with_logits(asked, added(asked, wanted))


@asks("cap ignored", "where the cap is used", "cap")
def cap_ignored(asked: Question) -> Question:
    """No bound."""
    return asked.changed(cap=None)


@asks("cap without its division", CAP, "cap")
def cap_without_its_division(asked: Question) -> Question:
    """C tanh(z), which is the cap of c z."""
    return asked.changed(scale=factor(asked) * float(asked.arguments.cap or 1.0))


@asks("cap before the scale", CAP, "cap")
def cap_before_the_scale(asked: Question) -> Question:
    """Scaled down together with the scores: a cap of c times the scale."""
    capped = factor(asked) * float(asked.arguments.cap or 1.0)
    return asked.changed(cap=capped) if capped > 0.0 else asked


def cap_after_the_mask(asked: Question) -> Question:
    """Minus infinity becomes -c, so everything is seen; what is added is capped, too."""
    cap, seen = (
        float(asked.arguments.cap or 1.0),
        np.broadcast_to(asked.request.visible, asked.shape),
    )
    uncapped = logits(asked.changed(cap=None))
    wanted = np.where(seen, cap * np.tanh(uncapped / cap), -cap)
    return with_logits(open_to_all(asked), wanted)


def sum_of_uncapped(asked: Question, truth: Truth) -> Truth:
    """The logarithm is taken before the cap."""
    before = asked.changed(cap=None).truth
    return replace(truth, lse=before.lse, allowed_lse=before.allowed_lse)


form("cap after the mask", CAP, "cap", asks=cap_after_the_mask)
form("cap after the mask", CAP, "cap", asks=cap_after_the_mask, gives=sum_of_uncapped)


def open_to_all(asked: Question) -> Question:
    """The same with nothing hidden."""
    return asked.changed(mask=None, causal=False, window=None, padding=None)


@asks("slopes ignored", SLOPES, "slopes")
def slopes_ignored(asked: Question) -> Question:
    """Near and far are the same."""
    return asked.changed(slopes=None)


@asks("distance rewarded", SLOPES, "slopes")
def distance_rewarded(asked: Question) -> Question:
    """Another sign."""
    return asked.changed(slopes=-np.asarray(asked.arguments.slopes))


@asks("slope of the first head for all", SLOPES, "slopes")
def slope_of_the_first_head(asked: Question) -> Question:
    """Every head forgets equally fast."""
    slopes = np.asarray(asked.arguments.slopes)
    return asked.changed(slopes=np.full_like(slopes, slopes[0]))


@asks("distance from the top left", SLOPES, "slopes")
def distance_from_the_top_left(asked: Question) -> Question:
    """The first query stands at the first key."""
    slopes, (_, _, tokens, keys) = np.asarray(asked.arguments.slopes), asked.shape
    bias = visibility.alibi(slopes, tokens, keys, "top left")
    return asked.changed(slopes=None, bias=added(asked, bias[None]))
