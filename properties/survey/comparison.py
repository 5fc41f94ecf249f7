"""Who gives what for one call: the answers beside the definition's, and who agrees with whom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from string import ascii_uppercase
from typing import Any

import numpy as np

from properties.basics.dtypes import Array

DIGITS = {"float64": 11, "float32": 7, "bfloat16": 4, "float16": 4}


@dataclass(frozen=True, eq=False)
class Compared:
    """A failure's call, and what everybody gives for it.

    name: whose failure it is; finding: what is wrong, in words; call: see `replay.heard`; reason: why
    there is none, where it could not be asked for; answers: by name, an output (B, T, W), or the reason
    why there is none.
    """

    name: str
    finding: str
    call: Mapping[str, Any]
    reason: str = ""
    answers: dict[str, Array | str] = field(default_factory=dict)

    def add(self, name: str, answer: Mapping[str, Any]) -> None:
        """What `replay.answered` gave for the call."""
        output = np.asarray(answer.get("output", []), np.float64)
        self.answers[name] = answer.get("reason") or self.shaped(output)

    def shaped(self, output: Array) -> Array | str:
        """The output, if it has the shape of the right one."""
        expected, found = ("x".join(map(str, part.shape)) for part in (self.right, output))
        return output if found == expected else f"gave {found}, expected {expected}"

    @property
    def right(self) -> Array:
        """What the definition gives."""
        return np.asarray(self.call["right"], np.float64)

    @property
    def allowed(self) -> Array:
        """How far an answer may be from it, infinite where nothing is defined."""
        return np.asarray(self.call["allowed"], np.float64)

    @property
    def defined(self) -> bool:
        """Whether the definition says anything: not of rows that see nothing alone."""
        return bool(np.isfinite(self.allowed).any())

    @property
    def outputs(self) -> dict[str, Array]:
        """The answers that are outputs."""
        return {name: a for name, a in self.answers.items() if not isinstance(a, str)}

    def agrees(self, output: Array) -> bool:
        """Whether it is what the definition gives, wherever that says anything."""
        return within(output, self.right, self.allowed)

    def alike(self, one: Array, other: Array) -> bool:
        """Whether two outputs may be those of one formula: each may be off by the bound."""
        bound = 2.0 * np.asarray(self.call["alike"], np.float64)
        return within(one, other, bound) and self.agrees(one) == self.agrees(other)

    def groups(self) -> list[list[str]]:
        """Those who agree with each other, the largest group first."""
        found: list[list[str]] = []
        for name, output in self.outputs.items():
            like = (group for group in found if self.alike(self.outputs[group[0]], output))
            group = next(like, None)
            if group is None:
                found.append([name])
            else:
                group.append(name)
        return sorted(found, key=len, reverse=True)

    def letters(self) -> dict[str, str]:
        """The letter of each one's group."""
        groups = zip(named(len(self.groups())), self.groups(), strict=True)
        return {name: letter for letter, group in groups for name in group}

    @property
    def place(self) -> tuple[int, ...]:
        """Where outputs differ most, for their bound."""
        outputs = np.stack([self.right, *self.outputs.values()])
        spread = np.nan_to_num(np.ptp(outputs, axis=0), nan=np.inf)
        share = spread / np.maximum(np.asarray(self.call["alike"]), np.finfo(np.float64).tiny)
        return tuple(int(n) for n in np.unravel_index(int(share.argmax()), share.shape))

    def number(self, output: Array) -> str:
        """The output there, in as many digits as its format has."""
        return f"{output[self.place]:.{DIGITS[self.call['case']['dtype']]}g}"


def within(one: Array, other: Array, bound: Array) -> bool:
    """Whether two arrays are no further apart; NaN is like NaN, infinity like itself."""
    with np.errstate(invalid="ignore"):
        near = np.abs(one - other) <= bound
    same = (one == other) | (np.isnan(one) & np.isnan(other))
    return bool((near | same | np.isposinf(bound)).all())


def named(count: int) -> list[str]:
    """A, B, C and so on; numbers behind Z."""
    return [ascii_uppercase[n] if n < len(ascii_uppercase) else str(n) for n in range(count)]
