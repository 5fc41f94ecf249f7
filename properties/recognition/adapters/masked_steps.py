"""A mask of pairs beside cached keys and values: in which layout a step takes it is found by trial.

Where nothing but such a mask hides the future, this also finds how a module goes on from earlier tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from torch import nn

from properties.basics.dtypes import FORMATS, Array
from properties.recognition.adapters import calls, earlier_tokens
from properties.recognition.adapters.module_subject import ModuleSubject
from properties.recognition.asking import cache_finding
from properties.recognition.asking.beside_a_cache import LAID, laid_out
from properties.recognition.asking.cache_finding import RANKS, Trial
from properties.recognition.asking.caches import CacheManner
from properties.recognition.turning.handed import handed_to
from properties.subjects.call import Arguments
from properties.subjects.subject import CAUSAL_FAMILIES


def offer(finished: ModuleSubject, module: nn.Module, call: calls.Call) -> None:
    """Claim the masks of pairs that a step with its cache takes, and the cache where only they show it."""
    names = (*call.optional, *sorted(handed_to(module)))
    if not cache_finding.exists(names, module) or (causal(finished) and not finished.cache):
        return
    roles = [role for role in ("mask", "bias") if asked_of(finished, role)]
    found = {role: best(finished, role, names, module) for role in roles}
    taken = {role: pair for role, pair in found.items() if pair is not None}
    for way, manner in list(taken.values())[:1]:
        finished.laid = way
        finished.masked_steps = tuple(taken)
        finished.one_mask = "T T" in finished.manner.pairs.values()
        if not finished.cache:
            trial = trial_of(finished, next(iter(taken)), way)
            earlier_tokens.claim(finished, trial, manner)
            finished.notes += ("its cache is asked about beside a mask that hides the future",)
    if not finished.cache:
        text = "keys and values of earlier tokens: nothing hides the future, so nothing is past"
        finished.unasked = {
            **finished.unasked,
            **dict.fromkeys(cache_finding.signs(module), text),
        }


def causal(finished: ModuleSubject) -> bool:
    """Whether it hides the future itself."""
    return finished.family in CAUSAL_FAMILIES


def asked_of(finished: ModuleSubject, role: str) -> bool:
    """Whether a call takes it, and what True means in it is known."""
    return role in finished.takes and (role == "bias" or bool(finished.conventions.mask))


def best(
    finished: ModuleSubject, role: str, names: tuple[str, ...], module: nn.Module
) -> tuple[str, CacheManner] | None:
    """The layout in which steps take such a mask, and how they go on; None where none run.

    Those that go on as the whole come first; one that remembers something else is judged.
    """
    known = [finished.remembering] if finished.cache else [*cache_finding.manners(names, module)]
    found: dict[int, tuple[str, CacheManner]] = {}
    for way, trial in trials(finished, role):
        for manner in known:
            rank = trial.understood(manner)
            if rank == len(RANKS):
                return way, manner
            if rank:
                found.setdefault(rank, (way, manner))
    return found[max(found)] if found else None


def trials(finished: ModuleSubject, role: str) -> Iterator[tuple[str, Trial]]:
    """One for each layout."""
    for way in LAID:
        yield way, trial_of(finished, role, way)


def trial_of(finished: ModuleSubject, role: str, way: str) -> Trial:
    """Steps that are told their rows of a mask in this layout."""
    sizes = earlier_tokens.roomy(finished)
    pairs = drawn(role)

    def telling(start: int, end: int, dtype: str) -> Mapping[str, Any]:
        rows = np.repeat(pairs[:, :, start:end, :end], sizes.batch, axis=0)
        if role == "bias":
            rows = FORMATS[dtype].round(rows)
        told = Arguments(mask=rows) if role == "mask" else Arguments(bias=rows)
        room = end if end - start == cache_finding.TOKENS else sizes.context_length
        return finished.told_beside(laid_out(told, way, room), dtype)

    return Trial(earlier_tokens.builder(finished, sizes), sizes, telling)


def drawn(role: str) -> Array | Any:
    """(1, 1, T, T): some of the past hidden, or numbers for it; the future hidden, and each sees itself."""
    tokens = cache_finding.TOKENS
    past = np.tri(tokens, dtype=np.bool_)
    rng = np.random.default_rng(2)
    if role == "bias":
        return np.where(past, rng.normal(size=past.shape), -np.inf)[None, None]
    shown = past & (rng.random(past.shape) < 0.5) | np.eye(tokens, dtype=np.bool_)
    return shown[None, None]
