"""What a causal flag of a module hides: of x alone, and of a context, from which corner on, or nothing.

Legend: T queries, S keys.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from properties.recognition.asking import probing
from properties.recognition.asking.module_trials import KEYS, Build, CrossTrial, Trial
from properties.recognition.asking.modules import ModuleManner
from properties.recognition.asking.roles import roles
from properties.subjects.call import Arguments
from properties.truth.parameters import Sizes

FEW = 2  # queries: of one fewer than keys, a diagonal one late is that of the other corner
CORNERS = {"0|01": "top left", "012|0123": "bottom right"}
ALL = "0123"
PAST = "0|01|012|0123"


def all_of(seen: str) -> bool:
    """Whether every query sees every key."""
    return set(seen.split("|")) == {ALL}


class Corners:
    """Asks what is seen of x alone, of a context with more tokens than x, and of one with as many."""

    def __init__(self, build: Build, sizes: Sizes, d_context: int) -> None:
        """build, sizes: of a trial; d_context: the width of a context, 0 for that of x."""
        self.alone = Trial(build, sizes)
        self.longer, self.level = (CrossTrial(build, sizes, d_context, n) for n in (FEW, KEYS))

    def seen(self, trial: Trial, found: ModuleManner, causal: bool | None = None) -> str:
        """The keys that each query sees, as "0|01"; "" where the call raises."""
        return self.keys_by_row(trial, found, Arguments(causal=causal))

    def keys_by_row(self, trial: Trial, found: ModuleManner, told: Arguments) -> str:
        """The same of any call."""
        rows = probing.seen(trial.ask(found, told, 1), KEYS)
        return "|".join("".join(map(str, sorted(row or ()))) for row in rows)

    def stands_beside_masks(self, found: ModuleManner) -> bool:
        """Whether the flag may be told beside each mask that is taken of x."""
        told = (
            self.alone.telling(found, name, 1)
            for name in ("mask", "padding")
            if name in found.takes
        )
        both = (replace(one, causal=True) for one in told)
        return all(self.alone.ask(found, one, 1) is not None for one in both)

    def shows_all(self, trial: Trial, found: ModuleManner, causal: bool | None = None) -> bool:
        """Whether nothing is hidden."""
        return all_of(self.seen(trial, found, causal))

    def gives_way(self, found: ModuleManner) -> bool:
        """Whether a mask that shows everything of x shows the future, too, which is hidden without one."""
        everything = np.ones((1, 1, KEYS, KEYS), dtype=np.bool_)
        told = Arguments(mask=everything) if "mask" in found.takes else None
        if told is None and "bias" in found.takes:
            told = Arguments(bias=np.zeros(everything.shape))
        if told is None or self.seen(self.alone, found) != PAST:
            return False
        return all_of(self.keys_by_row(self.alone, found, told))

    def corner(self, found: ModuleManner, causal: bool | None = None) -> str:
        """Where the diagonal lies beside a context, "x alone" where nothing is hidden of any; "" for
        neither.
        """
        if self.shows_all(self.longer, found, causal):
            return "x alone" if self.shows_all(self.level, found, causal) else ""
        return CORNERS.get(self.seen(self.longer, found, causal), "")


def with_flag(
    found: ModuleManner,
    names: Iterable[str],
    corners: Corners,
    *,
    required: bool,
    meant: bool = False,
) -> tuple[ModuleManner, str]:
    """With the causal flag of a forward, and what it hides of a context where one is taken; or as it is,
    and why: a call with the flag raises, something is hidden without it, or it may speak of a mask.

    required: whether a context has to be given. Then, and where nothing is hidden of x alone either, the
    flag is for no other use, and hiding nothing of a context is wrong. meant: whether the future is hidden
    by default; then a flag that is given as False and hides it still is wrong.
    """
    argument = roles(names).get("causal")
    if argument is None or found.hinted:
        return found, ""
    told = replace(found, takes={**found.takes, "causal": argument})
    crossed = "context" in found.takes
    trials = (corners.alone, corners.longer) if crossed else (corners.alone,)
    off, on = ([corners.seen(trial, told, flag) for trial in trials] for flag in (False, True))
    if "" in off or "" in on:
        return found, "a call with it raises"
    if not corners.stands_beside_masks(told):
        return found, "a call with it beside a mask raises"
    ignored = meant and not crossed and off == on == [PAST]
    if not all(map(all_of, off)) and not ignored:
        return found, "where it is False something is hidden as well"
    if may_be_a_hint(names, on):
        return found, "it hides nothing by itself, and may only speak of a mask"
    if not crossed:
        return told, ""
    corner = corners.corner(told, True)
    if corner == "x alone" and (required or all_of(on[0])):
        corner = ""
    return replace(told, conventions=replace(found.conventions, align=corner)), ""


def may_be_a_hint(names: Iterable[str], seen: Iterable[str]) -> bool:
    """Whether nothing is hidden by the flag, and a mask of pairs may be what it only speaks of."""
    masked = bool({"mask", "bias", "context_mask"} & set(roles(names)))
    return masked and all(map(all_of, seen))


def by_itself(found: ModuleManner, corners: Corners) -> ModuleManner:
    """With what a module hides of a context that was made to hide the future, and is told nothing."""
    if "context" not in found.takes or "causal" in found.takes:
        return found
    return replace(found, conventions=replace(found.conventions, align=corners.corner(found)))
