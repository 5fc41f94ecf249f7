"""A cache of earlier tokens, and where the first token of a call stands: what trials confirm is claimed."""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from properties.recognition.adapters import calls, messages
from properties.recognition.adapters.draft import random_weights, trial_config
from properties.recognition.adapters.module_subject import ModuleSubject
from properties.recognition.asking import cache_finding
from properties.recognition.asking.caches import CacheManner
from properties.recognition.turning import finding as turning
from properties.recognition.turning.handed import handed_to
from properties.subjects.subject import CAUSAL_FAMILIES, Config
from properties.truth.parameters import Sizes

LONG = 32  # tokens that fit into what a cache is tried with


def offer_cache(finished: ModuleSubject, module: nn.Module, call: calls.Call) -> None:
    """Claim the cache of earlier keys and values that a trial goes on from."""
    if finished.family not in CAUSAL_FAMILIES:  # what is cached is the past, which a mask may show
        return
    names = (*call.optional, *sorted(handed_to(module)))
    if not cache_finding.exists(names, module):
        return
    sizes = roomy(finished)
    trial = cache_finding.Trial(builder(finished, sizes), sizes)
    found = trial.manner(names, module)
    if found is None:
        text = "keys and values of earlier tokens: no trial with 3 tokens, then 1, then 1 went on"
        left = dict.fromkeys(cache_finding.signs(module), text)
        finished.unasked = {**finished.unasked, **left}
        return
    claim(finished, trial, found)
    if found.in_slots and trial.cut(found):
        finished.differentiable = False
        reason = "keys and values are read out of slots that gradients do not come through"
        finished.lacking = {**finished.lacking, "gradients": reason}


def builder(finished: ModuleSubject, sizes: Sizes) -> cache_finding.Build:
    """A new module of these sizes and always the same weights, in a format."""
    weights = random_weights(sizes) if finished.has("projections") else None
    return lambda dtype: finished.build(Config(sizes, dtype=dtype), weights)


def claim(finished: ModuleSubject, trial: cache_finding.Trial, found: CacheManner) -> None:
    """Claim a cache that is gone on with so, in the formats in which its steps run."""
    finished.remembering, finished.cache = found, found.words
    finished.capabilities |= found.offers
    finished.cached_in = tuple(
        d for d in finished.dtypes if trial.steps(found, dtype=d) is not None
    )
    finished.notes += tuple(
        f"the cache is not asked in {dtype}: a step raises there"
        for dtype in finished.dtypes
        if dtype not in finished.cached_in
    )
    finished.unasked = {n: text for n, text in finished.unasked.items() if n not in found.arguments}


def roomy(finished: ModuleSubject) -> Sizes:
    """The sizes of a trial, with fewer heads of keys than of queries where there may be, so that a cache
    that is told either is told which.
    """
    sizes = replace(trial_config(finished.blueprint, finished.family).sizes, context_length=LONG)
    if finished.has("groups"):
        sizes = replace(sizes, heads=6, groups=2)
    return replace(sizes, d_in=sizes.width) if finished.blueprint.square else sizes


def offer_padded_steps(finished: ModuleSubject) -> None:
    """Claim a mask of keys beside a cache, and say which masks are not asked about there."""
    if not finished.cache:
        return
    if "padding" in finished.takes and takes_padded_steps(finished):
        finished.capabilities |= {"padding beside a cache"}
    roles = ("mask", "bias", "padding")
    masks = dict.fromkeys(finished.takes[role] for role in roles if role in finished.takes)
    asked = ["padding"] * finished.has("padding beside a cache") + [*finished.masked_steps]
    for role in asked:
        masks.pop(finished.takes[role], None)
    if masks:
        finished.notes += (f"not asked: {messages.listed(masks)} beside cached keys and values",)


def takes_padded_steps(finished: ModuleSubject) -> bool:
    """Whether steps run that are told which of all tokens so far are padding, or else which of their own
    are; nothing is said of what they give.
    """
    sizes = roomy(finished)
    trial = cache_finding.Trial(builder(finished, sizes), sizes)
    for whole in (True, False):
        finished.padded_whole = whole
        if trial.padded(finished.begin, finished.step_padded):
            return True
    return False


def offer_start(finished: ModuleSubject, module: nn.Module, call: calls.Call) -> None:
    """Claim that a call may say where its first token stands, where no cache says it."""
    positions = finished.positions
    kept = finished.cache or cache_finding.signs(module)
    if positions is None or not positions.known or kept:
        return
    if name := turning.start(finished, finished.build, module, call.optional):
        finished.takes = {**finished.takes, "start": name}
        finished.manner = replace(finished.manner, takes=finished.takes)
        finished.unasked = {n: text for n, text in finished.unasked.items() if n != name}
