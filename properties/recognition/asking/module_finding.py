"""Which masks, flags and contexts a forward takes, and what it returns: found by trial with the module
itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from properties.basics.dtypes import Array
from properties.recognition.asking import probing
from properties.recognition.asking.module_masks import with_masks, with_masks_of_context
from properties.recognition.asking.module_trials import (
    ALSO_OF_HEADS,
    KEYS,
    LAST,
    SEGMENTS,
    Build,
    CrossTrial,
    Trial,
)
from properties.recognition.asking.modules import ModuleManner
from properties.recognition.asking.roles import certain, roles
from properties.subjects.call import Arguments, Conventions
from properties.truth.parameters import Sizes

FURTHER = 5  # results among which weights are looked for


def manner(
    names: Iterable[str],
    build: Build,
    sizes: Sizes,
    d_context: int = 0,
    *,
    alone: bool = True,
    batched: bool = True,
) -> ModuleManner:
    """How a forward with these arguments besides x is told masks and a context; with no role where it
    takes none.

    sizes: of a trial; d_context: the width of a context, 0 for that of x; alone: whether x is taken
    without a context; batched: whether it has an axis of items: without, no mask is tried.
    """
    named = roles(names)
    if not batched:
        named = {role: name for role, name in named.items() if role == "context"}
    found = ModuleManner(batched=batched)
    if alone:
        trial_of_x = Trial(build, sizes)
        found = with_segments(trial_of_x, with_masks(trial_of_x, found, named), named)
        if (
            batched and "T T" not in found.pairs.values()
        ):  # else parts would have to be put together
            found = with_what_comes(trial_of_x, found, named)
    if "context" not in named:
        return found
    crossing = replace(found, takes={**found.takes, "context": named["context"]})
    trials = [CrossTrial(build, sizes, d_context, queries) for queries in (KEYS - 1, KEYS)]
    if certain(named["context"]):
        trial = next((t for t in trials if t.ask(crossing, Arguments(), 3) is not None), None)
    else:
        trial = trials[0] if trials[0].attends(crossing) else None
    return found if trial is None else with_masks_of_context(trial, crossing, named)


def with_tokens(
    names: Iterable[str], tokens: Sequence[str], build: Build, sizes: Sizes, *, recording: bool
) -> ModuleManner:
    """How a forward of queries, keys and values is told masks, other tokens and what to return.

    names: its arguments besides these three, tokens; recording: whether gradients are recorded. Who names
    them as torch's own module does is held to what that promises.
    """
    named, (_, key, value) = roles(names), tokens
    trial = Trial(build, sizes, ALSO_OF_HEADS)
    crossing = CrossTrial(build, sizes, 0, KEYS - 1, ALSO_OF_HEADS)
    promised = set(names) >= TORCHS
    found = with_masks(trial, ModuleManner(recording=recording), named)
    found = replace(found, takes={**found.takes, "context": key, "context_values": value})
    if promised:
        found = as_promised(trial, found, named)
    found = of_context_as_of_x(found)
    takes = {n: a for n, a in found.takes.items() if crossing_works(crossing, found, n)}
    found = with_flag(trial, with_what_comes(trial, replace(found, takes=takes), named), named)
    if "mask" not in found.takes:
        return found
    # Once more: whether weights are wanted may decide what a row that sees nothing gets.
    empty = trial.empty(replace(found, conventions=replace(found.conventions, empty="")))
    return replace(found, conventions=replace(found.conventions, empty=empty))


TORCHS = frozenset({"key_padding_mask", "need_weights", "attn_mask"})
PROMISED = Conventions(mask="hide", padding="hide")


def known_by(convention: str, names: Iterable[str]) -> str:
    """How a convention of such a forward is known; see `call.ORIGINS`."""
    promised = convention.endswith(("mask", "padding")) and set(names) >= TORCHS
    return "signature of torch's MultiheadAttention" if promised else "trial"


def as_promised(trial: Trial, found: ModuleManner, named: Mapping[str, str]) -> ModuleManner:
    """With what torch's own module promises: True hides, and numbers are added.

    Those of padding only where weights are averaged on demand, or a trial shows it: fairseq has the other
    names, too, and makes booleans of its padding.
    """
    takes = dict(found.takes)
    if "mask" in takes:
        guess = replace(found, takes={**takes, "bias": takes["mask"]})
        zeros = Arguments(bias=trial.pairs(np.zeros(KEYS), 1))
        takes |= {"bias": takes["mask"]} if trial.ask(guess, zeros, 1) is not None else {}
    if "padding" in takes:
        guess = replace(found, takes={**takes, "padding_numbers": takes["padding"]})
        hides, lessens, shows = (hidden_by(trial, guess, by) for by in (-np.inf, -1.0, 0.0))
        added = hides is not None and "average_attn_weights" in named.values()
        if hides is not None and lessens is not None and shows is not None:
            added |= not (np.allclose(lessens, hides) or np.allclose(lessens, shows))
        takes = dict(guess.takes) if added else takes
    kept = replace(found.conventions, mask=PROMISED.mask if "mask" in takes else "")
    kept = replace(kept, padding=PROMISED.padding if "padding" in takes else "")
    held = replace(found, takes=takes, conventions=kept)
    if "mask" not in takes:
        return held
    return replace(held, conventions=replace(kept, empty=trial.empty(held)))


def hidden_by(trial: Trial, guess: ModuleManner, number: float) -> Array | None:
    """The output where this number is told of the keys that are no `LAST`; None where a call raises."""
    told = Arguments(padding_numbers=np.tile(np.where(LAST, 0.0, number), (3, 1)))
    answer = trial.ask(guess, told, 3)
    return None if answer is None else answer.output


def of_context_as_of_x(found: ModuleManner) -> ModuleManner:
    """With masks for other tokens by the same arguments, and in the same shapes and polarity."""
    takes, kept = dict(found.takes), found.conventions
    takes |= {f"context_{n}": takes[n] for n in ("mask", "bias", "padding") if n in takes}
    pairs, keys = (
        {**of, **{f"context_{n}": shape for n, shape in of.items()}}
        for of in (found.pairs, found.keys)
    )
    both = replace(kept, context_mask=kept.mask, context_padding=kept.padding)
    return replace(found, takes=takes, pairs=pairs, keys=keys, conventions=both)


def crossing_works(trial: Trial, found: ModuleManner, role: str) -> bool:
    """Whether a call with other tokens returns, where a role is about these."""
    told = {
        "context": Arguments(),
        "context_values": Arguments(),
        "context_mask": trial.telling(found, "mask", 3),
        "context_bias": Arguments(bias=trial.pairs(np.zeros(KEYS), 3)),
        "context_padding": trial.telling(found, "padding", 3),
    }
    return role not in told or trial.ask(found, told[role], 3) is not None


def with_what_comes(trial: Trial, found: ModuleManner, named: Mapping[str, str]) -> ModuleManner:
    """With arguments that ask for weights, where these come."""
    if "weights" not in named:
        return with_what_always_comes(trial, found)
    takes = {n: named[n] for n in ("weights", "averaged") if n in named}
    guess = replace(found, takes={**found.takes, **takes})
    answer = trial.ask(guess, Arguments(weights=True), 1)
    if answer is None or answer.weights is None:
        return found
    kind = "per head" if answer.weights.ndim == 4 else "averaged"
    return replace(guess, conventions=replace(guess.conventions, weights=kind))


def with_what_always_comes(trial: Trial, found: ModuleManner) -> ModuleManner:
    """With the weights that come without being asked for, where a further result has their shape, and rows
    that sum to one: it may be anything else.
    """
    item_by_item = not found.batched or "T T" in found.pairs.values()
    for place in range(1, FURTHER) if not item_by_item else ():
        guess = replace(found, takes={**found.takes, "weights": ""}, always=place)
        kinds = {kind_of_weights(one, guess) for one in (trial, trial.longer())}
        if len(kinds) == 1 and (kind := kinds.pop()):
            return replace(guess, conventions=replace(guess.conventions, weights=kind))
    return found


def kind_of_weights(trial: Trial, guess: ModuleManner) -> str:
    """Whether what comes are weights of each head, or their mean; "" for neither."""
    answer = trial.ask(guess, Arguments(weights=True), 3, uneven=True)
    weights = None if answer is None else answer.weights
    if weights is None or (weights.ndim == 4 and weights.shape[1] != trial.sizes.heads):
        return ""
    if (weights < 0).any() or not np.allclose(weights.sum(axis=-1), 1.0, atol=1e-3):
        return ""
    return "per head" if weights.ndim == 4 else "averaged"


def with_flag(trial: Trial, found: ModuleManner, named: Mapping[str, str]) -> ModuleManner:
    """With the causal flag, if it hides the future alone, or beside a mask that does."""
    if "causal" not in named:
        return found
    guess = replace(found, takes={**found.takes, "causal": named["causal"]})
    for hinted in (False, True):
        told = replace(guess, hinted=hinted)
        answer = trial.ask(told, Arguments(causal=True), 1) if "mask" in found.takes else None
        if answer is not None and answer.output[0, 0, 0] == 1.0:
            return told if not hinted else with_own_triangle(told)
    return found


def with_segments(trial: Trial, found: ModuleManner, named: Mapping[str, str]) -> ModuleManner:
    """With an argument for segments by which other keys are seen: one that is read for something else, or
    by nobody, is left alone.
    """
    if "segments" not in named:
        return found
    guess = replace(found, takes={**found.takes, "segments": named["segments"]})
    rows = [trial.number(guess, Arguments(segments=np.array([ids]))) for ids in SEGMENTS]
    shows_keys = all(np.isfinite(row) and probing.keys_of(row, KEYS) for row in rows)
    return guess if shows_keys and not np.allclose(rows, rows[0]) else found


def with_own_triangle(found: ModuleManner) -> ModuleManner:
    """With the place of the diagonal in the mask that goes with the flag."""
    return replace(found, conventions=replace(found.conventions, align="top left"))


def usable(
    found: ModuleManner,
    build: Build,
    sizes: Sizes,
    dtypes: tuple[str, ...],
    d_context: int = 0,
) -> list[str]:
    """The formats in which a context, every mask and the causal flag can be given: some hide by a number
    that a short format does not have.
    """
    plain, crossing = Trial(build, sizes), CrossTrial(build, sizes, d_context, KEYS)
    told = [
        (trial, trial.telling(found, name, 1))
        for trial in (plain, crossing)
        for name in ("mask", "padding")
        if trial.roles[name] in found.takes
    ]
    told += [(crossing, Arguments())] if "context" in found.takes else []
    told += [(plain, Arguments(causal=True))] if "causal" in found.takes else []
    return [
        dtype
        for dtype in dtypes
        if all(trial.ask(found, one, 1, dtype) is not None for trial, one in told)
    ]
