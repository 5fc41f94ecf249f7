"""Which masks a forward takes, and what True means in them: found by trial with the module itself.

Its queries and keys are made zero, so that every key that is seen has the same weight, and the value
of key j is 2**j: a row is the mean of some powers of two, and tells which keys it saw.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np
from torch import nn

from properties.recognition.asking import probing
from properties.recognition.asking.modules import SHAPES, ModuleManner
from properties.recognition.asking.roles import roles
from properties.subjects.call import Answer, Arguments, Conventions
from properties.subjects.subject import Config
from properties.truth.parameters import Sizes, Weights

KEYS = 4
LAST = np.array([True, True, False, True])  # the keys that are told to be seen
Build = Callable[[Config, Weights], nn.Module]


class Trial:
    """Asks modules of these sizes, whose weights are level; the last row, since it may see all keys."""

    def __init__(self, build: Build, sizes: Sizes) -> None:
        """Take over how modules are built, and their d_in, heads and head_dim."""
        self.build = build
        self.sizes = replace(sizes, tokens=KEYS, context_length=KEYS)

    def ask(
        self, manner: ModuleManner, arguments: Arguments, items: int, dtype: str = "float32"
    ) -> Answer | None:
        """The answer for so many items, all alike; None where the call raises."""
        s = replace(self.sizes, batch=items)
        flat = np.zeros((s.d_in, s.width))
        value = flat.copy()
        value[0, 0] = 1.0
        weights = Weights(query=flat, key=flat, value=value)
        x = np.zeros((items, KEYS, s.d_in))
        x[:, :, 0] = 2.0 ** np.arange(KEYS)
        return probing.asked(
            lambda inputs, told: manner.ask(
                self.build(Config(s, dtype=dtype), weights), inputs, told, dtype
            ),
            {"x": x},
            arguments,
        )

    def number(self, manner: ModuleManner, arguments: Arguments) -> float:
        """What the last row of a single item gives; NaN where the call raises."""
        answer = self.ask(manner, arguments, items=1)
        return float("nan") if answer is None else float(answer.output[0, -1, 0])

    def polarity(self, manner: ModuleManner, role: str) -> str:
        """What True means in a mask of this role; "" if neither."""
        found = probing.keys_of(self.number(manner, telling(role, 1)), KEYS)
        return {frozenset({0, 1, 3}): "attend", frozenset({2}): "hide"}.get(
            found or frozenset(), ""
        )

    def adds(self, manner: ModuleManner) -> bool:
        """Whether numbers are added to the scores: log 3 for key 1 counts it three times."""
        bias = pairs(np.log([1.0, 3.0, 1.0, 1.0]), 1)
        return abs(self.number(manner, Arguments(bias=bias)) - 19.0 / 6.0) < 1e-3

    def empty(self, manner: ModuleManner) -> str:
        """What a row gives that sees nothing; "" if nothing known."""
        mask = np.ones((1, 1, KEYS, KEYS), dtype=np.bool_)
        mask[..., -1, :] = False
        answer = self.ask(manner, Arguments(mask=mask), items=1)
        return "" if answer is None else probing.of_nothing(float(answer.output[0, -1, 0]))


def telling(role: str, items: int) -> Arguments:
    """The keys 0, 1 and 3, as a mask of this role, "mask" or "padding"."""
    if role == "padding":
        return Arguments(padding=np.tile(LAST, (items, 1)))
    return Arguments(mask=pairs(LAST, items))


def pairs(keys: Any, items: int) -> Any:
    """(B, 1, T, T): the same for every query."""
    return np.broadcast_to(keys, (items, 1, KEYS, KEYS)).copy()


def manner(names: Iterable[str], build: Build, sizes: Sizes) -> ModuleManner:
    """How a forward with these arguments is told masks; with no role where it takes none.

    sizes: of a trial. An argument may be for pairs of a query and a key, for keys, or for both.
    """
    trial = Trial(build, sizes)
    named = roles(names)
    found = ModuleManner()
    takes: dict[str, str] = {}
    shape = found.pairs
    for role, other in (("mask", "padding"), ("padding", "mask")):
        for argument in (named[r] for r in (role, other) if r in named):
            if form := taken(trial, replace(found, takes={role: argument}), role):
                takes[role] = argument
                shape = form if role == "mask" else shape
                break
    found = replace(found, takes=takes, pairs=shape)
    return with_conventions(trial, with_bias(trial, found))


def taken(trial: Trial, guess: ModuleManner, role: str) -> str:
    """The shape in which a mask of this role is taken, "" if in none.

    With three items first, then with as many as there are heads: one that falls on the heads is
    taken then, and judged.
    """
    counts = (3, trial.sizes.heads) if role == "mask" else (3,)
    for items in counts:
        for shape in SHAPES:
            asked = replace(guess, pairs=shape)
            if trial.ask(asked, telling(role, items), items) is not None:
                return shape
    return ""


def with_bias(trial: Trial, found: ModuleManner) -> ModuleManner:
    """With the role of a bias where a mask of numbers is added to the scores; and then without that
    of a mask where True is such a number.
    """
    argument = found.takes.get("mask")
    if not argument:
        return found
    both = replace(found, takes={**found.takes, "bias": argument})
    if not trial.adds(both):
        return found
    if trial.polarity(both, "mask"):
        return both
    return replace(both, takes={n: a for n, a in both.takes.items() if n != "mask"})


def with_conventions(trial: Trial, found: ModuleManner) -> ModuleManner:
    """With what True means; where one argument is for pairs and keys, it means the same in both."""
    kept: dict[str, Any] = {
        role: trial.polarity(found, role) for role in ("mask", "padding") if role in found.takes
    }
    if len(kept) == 2 and found.shared("mask", "padding"):
        kept["mask"] = kept["padding"]
    held = replace(found, conventions=Conventions(**kept))
    if "mask" not in found.takes:
        return held
    return replace(found, conventions=Conventions(**kept, empty=trial.empty(held)))


def usable(found: ModuleManner, build: Build, sizes: Sizes, dtypes: tuple[str, ...]) -> list[str]:
    """The formats in which every mask can be given: some are filled with a number that a short
    format does not have.
    """
    trial = Trial(build, sizes)
    masks = [role for role in ("mask", "padding") if role in found.takes]
    return [
        dtype
        for dtype in dtypes
        if all(trial.ask(found, telling(r, 1), 1, dtype) is not None for r in masks)
    ]
