"""What an untrusted function claims to compute: only what it claims is asked of it."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_args

from properties.basics.dtypes import FORMATS
from properties.basics.errors import QuestionError
from properties.truth.visibility import Align

LAYOUTS = ("BHTD", "BTHD")
ROLES = ("mask", "bias", "padding")


@dataclass(frozen=True)
class Spec:
    """A function of query, key and value, in this order, and what it takes by keyword.

    causal: False, True (always), or the name of its flag; scale: None (1 / sqrt(D)), a number, or the name
    of its argument; mask, bias, padding: the names of arguments, "" where there is none, of shapes
    (B, H, T, S), booleans; (B, H, T, S), numbers added to the scaled scores; (B, S), booleans. hides:
    whether True hides in mask and padding. out: the name of the argument that the result is written to.
    layout: BHTD or BTHD, of queries, keys, values and result. groups: whether heads may share keys and
    values; cross: whether there may be other keys than queries, and corner, where the causal diagonal then
    lies. tokens: the most that it takes; head_dims: those that it takes. library: whether it may call
    torch's own attention. device: where its tensors are.

    Raises `QuestionError` where a field has no such meaning.
    """

    causal: bool | str = False
    scale: float | str | None = None
    mask: str = ""
    bias: str = ""
    padding: str = ""
    hides: bool = False
    out: str = ""
    layout: str = "BHTD"
    formats: tuple[str, ...] = ("float32",)
    groups: bool = False
    cross: bool = False
    corner: Align = "top left"
    tokens: int = 128
    head_dims: tuple[int, ...] = (8, 5, 16)
    library: bool = True
    device: str = "cpu"

    def __post_init__(self) -> None:
        require("layout", self.layout in LAYOUTS, self.layout, " or ".join(LAYOUTS))
        require("corner", self.corner in get_args(Align), self.corner, " or ".join(get_args(Align)))
        known = ", ".join(FORMATS)
        right = bool(self.formats) and set(self.formats) <= FORMATS.keys()
        require("formats", right, self.formats, f"some of {known}")
        require("tokens", self.tokens >= 2, self.tokens, "2 or more")
        widths = bool(self.head_dims) and all(width >= 1 for width in self.head_dims)
        require("head_dims", widths, self.head_dims, "numbers of 1 or more")
        for name in (*ROLES, "out", "device"):
            told = getattr(self, name)
            require(name, isinstance(told, str), told, "the name of an argument, or nothing")

    @property
    def roles(self) -> tuple[str, ...]:
        """What it takes beside queries, keys and values."""
        return tuple(role for role in ROLES if getattr(self, role))

    @property
    def at_once(self) -> tuple[str, ...]:
        """Roles that can be given in one call: where two have one argument, the first of them."""
        taken: dict[str, str] = {}
        for role in self.roles:
            taken.setdefault(getattr(self, role), role)
        return tuple(taken.values())


def require(name: str, right: bool, found: object, expected: str) -> None:
    """Raise `QuestionError` for a field that says nothing known."""
    if not right:
        raise QuestionError(f"spec: {name} is {found!r}, expected {expected}")


def spec_of(told: Mapping[str, Any]) -> Spec:
    """A spec from a table of a file; `QuestionError` for fields that there are not."""
    known = {field.name for field in fields(Spec)}
    unknown = sorted(told.keys() - known)
    if unknown:
        raise QuestionError(
            f"spec: unknown {', '.join(unknown)}; known are {', '.join(sorted(known))}"
        )
    lists = {name: tuple(value) for name, value in told.items() if isinstance(value, list)}
    return Spec(**{**told, **lists})


def read(path: Path) -> Spec:
    """A spec from a file of TOML or JSON; `QuestionError` where it cannot be read."""
    try:
        text = path.read_text(encoding="utf-8")
        told = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except OSError as error:
        raise QuestionError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise QuestionError(f"{path} is neither TOML nor JSON by its name: {error}") from error
    if not isinstance(told, dict):
        raise QuestionError(f"{path} holds a {type(told).__name__}, expected one table of fields")
    return spec_of(told)
