"""Which masks a forward takes, in which shape, and what True means in them: found by trial."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from properties.recognition.asking.module_trials import KEYS, Trial
from properties.recognition.asking.modules import ModuleManner
from properties.recognition.asking.roles import counts
from properties.subjects.call import Conventions


def with_masks_of_context(
    trial: Trial, found: ModuleManner, named: Mapping[str, str]
) -> ModuleManner:
    """With those that are called so; without any, with those of all others that say something of it, or
    that say nothing of anything.
    """
    own = {n.removeprefix("context_"): a for n, a in named.items() if n.startswith("context_")}
    if own:
        return with_masks(trial, found, own)
    others = {n: named[n] for n in ("mask", "padding") if n in named}
    both = with_masks(trial, found, others)
    of_x = set(found.takes.values())
    mute = [
        role
        for name, role in ((n, trial.roles[n]) for n in ("mask", "padding"))
        if role in both.takes
        and not speaks(trial, both, role)
        and (both.takes.get(role) in of_x or trial.acts(both, name))
    ]
    return replace(both, takes={n: a for n, a in both.takes.items() if n not in mute})


def speaks(trial: Trial, found: ModuleManner, role: str) -> bool:
    """Whether it is known what a mask says of a context; a number, which of its tokens it shows."""
    known = getattr(found.conventions, role)
    return bool(known) and (known != "counts" or trial.counts_these(found))


def with_masks(trial: Trial, found: ModuleManner, named: Mapping[str, str]) -> ModuleManner:
    """With the masks of a trial that are taken, as ones and zeros where none is as booleans. An argument
    may be for pairs of a query and a key, for keys, or for both.
    """
    both = {n: named[n] for n in ("mask", "padding") if n in named}
    told = with_masks_as(trial, found, both)
    if not both or found.counted or told.takes != found.takes:
        return told
    other = with_masks_as(trial, replace(found, counted=True), both)
    return other if other.takes != found.takes else told


def with_masks_as(trial: Trial, found: ModuleManner, named: Mapping[str, str]) -> ModuleManner:
    """The same with masks of one kind."""
    takes, forms = dict(found.takes), {"mask": dict(found.pairs), "padding": dict(found.keys)}
    for name, other in (("mask", "padding"), ("padding", "mask")):
        for argument in (named[n] for n in (name, other) if n in named):
            if name == "mask" and counts(argument):
                continue
            role = trial.roles[name]
            guess = with_counts(replace(found, takes={**found.takes, role: argument}), role)
            if counts(argument) and trial.counts_the_last(guess):
                continue
            if form := taken(trial, guess, name):
                takes[role] = argument
                forms[name][role] = form
                break
    found = replace(found, takes=takes, pairs=forms["mask"], keys=forms["padding"])
    return with_conventions(trial, with_bias(trial, without_rows_of_keys(trial, found)))


def counted(found: ModuleManner, role: str) -> str:
    """That the argument of a role counts real tokens, if it does by its name; else ""."""
    return "counts" if counts(found.takes[role]) else ""


def with_counts(guess: ModuleManner, role: str) -> ModuleManner:
    """With that as its convention."""
    if not (answer := counted(guess, role)):
        return guess
    return replace(guess, conventions=replace(guess.conventions, **{role: answer}))


def without_rows_of_keys(trial: Trial, found: ModuleManner) -> ModuleManner:
    """Without a mask of pairs for one item alone, (T, S), where the argument takes one of keys and reads
    the first row as that of the item.
    """
    mask, padding = trial.roles["mask"], trial.roles["padding"]
    one = found.takes.get(mask) == found.takes.get(padding)
    if found.pairs.get(mask) != "T T" or not one or not trial.reads_one_row(found):
        return found
    return replace(found, takes={n: a for n, a in found.takes.items() if n != mask})


def taken(trial: Trial, guess: ModuleManner, name: str) -> str:
    """The shape in which such a mask is taken, "" if in none.

    With five items first, so that none can be taken for a query: a mask that is cut to the queries is not
    one for items. One of pairs then with as many as there are heads: one that falls on the heads is taken
    then, and judged.
    """
    counts = (KEYS + 1, trial.sizes.heads) if name == "mask" else (KEYS + 1,)
    for items in counts:
        for shape in trial.shapes if name == "mask" else trial.of_keys:
            of = {trial.roles[name]: shape}
            asked = replace(guess, pairs=of) if name == "mask" else replace(guess, keys=of)
            if trial.ask(asked, trial.telling(asked, name, items), items) is not None:
                return shape
    return ""


def with_bias(trial: Trial, found: ModuleManner) -> ModuleManner:
    """With the role of a bias where a mask of numbers is added to the scores; and then without those
    of masks where True is such a number.
    """
    mask, bias = trial.roles["mask"], trial.roles["bias"]
    argument = found.takes.get(mask)
    if not argument:
        return found
    both = replace(found, takes={**found.takes, bias: argument})
    if not trial.adds(both):
        return found
    mute = [
        trial.roles[name]
        for name in ("mask", "padding")
        if both.takes.get(trial.roles[name]) == argument and not trial.polarity(both, name)
    ]
    return replace(both, takes={n: a for n, a in both.takes.items() if n not in mute})


def with_conventions(trial: Trial, found: ModuleManner) -> ModuleManner:
    """With what True means; where one argument is for pairs and keys, it means the same in both."""
    mask, padding = trial.roles["mask"], trial.roles["padding"]
    plain = replace(found, conventions=Conventions())
    kept: dict[str, Any] = {
        trial.roles[name]: counted(found, trial.roles[name]) or trial.polarity(plain, name)
        for name in ("mask", "padding")
        if trial.roles[name] in found.takes
    }
    if len(kept) == 2 and found.takes[mask] == found.takes[padding]:
        kept[mask] = kept[padding]
    held = replace(found, conventions=replace(found.conventions, **kept))
    if mask not in found.takes or held.conventions.empty:
        return held
    return replace(held, conventions=replace(held.conventions, empty=trial.empty(held)))
