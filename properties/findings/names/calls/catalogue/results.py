"""Wrong results besides the context: weights, the logarithm of the denominator."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from properties.cases.question import Question, Truth
from properties.findings.names.calls.catalogue import gives
from properties.findings.names.calls.catalogue.scores import open_to_all
from properties.findings.names.calls.form import RefusedError
from properties.truth.attend import attend

SUM = "what the logarithm is taken of"
AVERAGED = "what the returned weights are averaged over"


@gives("LSE before the mask", SUM, "lse")
def before_the_mask(asked: Question, truth: Truth) -> Truth:
    """Of all keys."""
    everything = open_to_all(asked).truth
    return replace(truth, lse=everything.lse, allowed_lse=everything.allowed_lse)


@gives("LSE without its maximum", SUM, "lse")
def without_its_maximum(asked: Question, truth: Truth) -> Truth:
    """Of the shifted sum."""
    if not asked.function:
        raise RefusedError("tokens are asked about")
    q, k, v = (asked.inputs[name] for name in ("queries", "keys", "values"))
    attended = attend(q, k, v, asked.request)
    seen = attended.seen
    top = np.max(attended.logits, axis=-1, where=seen, initial=-np.inf)
    lse = attended.lse - np.where(np.isneginf(top), 0.0, top)
    return replace(truth, lse=lse)


@gives("weights before the mask", "where the returned weights are kept", "weights")
def weights_before_the_mask(asked: Question, truth: Truth) -> Truth:
    """Of all keys."""
    everything = open_to_all(asked).truth
    return replace(
        truth,
        weights=everything.weights,
        allowed_weights=everything.allowed_weights,
        allowed_averaged=everything.allowed_averaged,
    )


@gives("weights before the mask", "where the returned weights are kept", "weights")
def weights_before_the_bias(asked: Question, truth: Truth) -> Truth:
    """Of all keys, with nothing added to their scores."""
    return weights_before_the_mask(asked.changed(bias=None), truth)


@gives("weights summed over heads", AVERAGED, "averaged")
def weights_summed(asked: Question, truth: Truth) -> Truth:
    """In place of their mean."""
    heads = asked.shape[1]
    return replace(
        truth, weights=truth.weights * heads, allowed_averaged=truth.allowed_averaged * heads
    )


@gives("weights of the first head for the average", AVERAGED, "averaged")
def first_for_the_average(asked: Question, truth: Truth) -> Truth:
    """In place of their mean."""
    return weights_of_the_first_head(asked, truth)


@gives("weights of heads averaged", AVERAGED, "weights")
def averaged_unasked(asked: Question, truth: Truth) -> Truth:
    """In the place of each head, where all of them are asked for."""
    if asked.arguments.averaged:
        return truth
    mean = np.broadcast_to(truth.weights.mean(axis=1, keepdims=True), truth.weights.shape)
    allowed = np.broadcast_to(truth.allowed_averaged[:, None], mean.shape)
    return replace(truth, weights=mean, allowed_weights=allowed)


@gives(
    "weights of the first head for all", "what the returned weights are averaged over", "weights"
)
def weights_of_the_first_head(asked: Question, truth: Truth) -> Truth:
    """Not their mean."""
    first = np.broadcast_to(truth.weights[:, :1], truth.weights.shape)
    allowed = np.broadcast_to(truth.allowed_weights[:, :1], first.shape)
    return replace(
        truth, weights=first, allowed_weights=allowed, allowed_averaged=allowed.mean(axis=1)
    )
