"""Cosines and sines that a caller hands to forward, made for the tokens that come.

Legend: B batch, T tokens, D head_dim, R the columns that are turned.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

COS = re.compile(
    r"(rope|rotary|rot|emb|freqs?|_)*cos(ine|ines)?(_?(emb|cached|cache|freqs?|table))?"
)
SIN = re.compile(r"(rope|rotary|rot|emb|freqs?|_)*sin(e|es)?(_?(emb|cached|cache|freqs?|table))?")
BOTH = re.compile(r"(position|rotary|rope|pos)_?(embeddings?|embeds?|emb|pos_emb)|cos_sin|rope")
TURNS = re.compile(r"freqs?_?cis|freqs?_complex|rotary_freqs|freqs")
START = re.compile(r"start_?(pos|position|index)|pos(ition)?_offset|offset")
PLACES = re.compile(r"position_?ids|positions|input_pos(itions)?|pos_?ids")

SHAPES: Mapping[str, Callable[[Tensor, int], Tensor]] = {
    "T W": lambda table, items: table,
    "1 T W": lambda table, items: table[None],
    "B T W": lambda table, items: table.expand(items, *table.shape),
    "1 1 T W": lambda table, items: table[None, None],
    "1 T 1 W": lambda table, items: table[None, :, None],
}
"""A table (T, W) as a forward may want it."""
WIDTHS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "twice": lambda table: torch.cat([table, table], dim=-1),
    "once": lambda table: table,
    "each twice": lambda table: table.repeat_interleave(2, dim=-1),
}
"""The angles of R / 2 pairs as wide as they are wanted, for halves or for neighbours."""
BASE = 10000.0
TABLES = ("cos", "sin", "both", "turns")


@dataclass(frozen=True)
class Form:
    """How the angles are handed. shape, width: keys of `SHAPES` and `WIDTHS`; portion: R / D."""

    shape: str = "T W"
    width: str = "twice"
    portion: float = 1.0


def forms() -> Iterator[Form]:
    """Every form, the commonest first."""
    for portion in (1.0, 0.5, 0.25):
        for width in WIDTHS:
            for shape in SHAPES:
                yield Form(shape, width, portion)


@dataclass(frozen=True)
class Handed:
    """A hook before forward: the angles of tokens 0 to T - 1, in the arguments of these names.

    roles: what each argument is, "cos", "sin", "both", "turns" (complex), "start" or "places"; axes: on
    how many axes a token has a place, each of which turns as many columns of a head; first: the place of
    the first token, on each of them; still: whether all tokens stand at 0, where nothing is turned.
    """

    roles: Mapping[str, str]
    head_dim: int
    form: Form = Form()
    axes: int = 1
    first: int = 0
    still: bool = False

    def __call__(
        self, module: nn.Module, given: tuple[Any, ...], named: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        """Add what the call lacks; None, for no change, where x is no batch of tokens."""
        x = given[0] if given else next(iter(named.values()), None)
        if not isinstance(x, Tensor) or x.ndim < 2:
            return None
        missing = [name for name in self.roles if name not in named]
        made = self.made(x, self.first) if missing else {}
        return given, named | {name: made[name] for name in missing}

    def others(self) -> Iterator[Handed]:
        """The same angles in each other form of this shape."""
        for form in forms():
            if form.shape == self.form.shape and form != self.form:
                yield replace(self, form=form)

    def on_axes(self) -> Iterator[Handed]:
        """Angles for places on two or three axes, in each shape, for halves of what each axis turns: what
        turns halves of a head, or neighbours, gets pairs of two angles then, which is no turn.
        """
        for axes in (2, 3):
            for shape in SHAPES:
                yield replace(self, axes=axes, form=Form(shape))

    @property
    def words(self) -> str:
        """What is handed, in a few words."""
        if self.still:
            return f"forward is handed {', '.join(self.roles)} for the place 0 of every token"
        return f"forward is handed {', '.join(self.roles)} for positions from 0 on, base {BASE:g}"

    def made(self, x: Tensor, start: int = 0) -> dict[str, Any]:
        """The arguments for x (B, T, d_in), whose first token stands at `start`."""
        tokens, items = x.shape[-2], len(x) if x.ndim > 2 else 1
        count = max(1, round(self.head_dim * self.form.portion) // (2 * self.axes))
        steps = torch.arange(tokens, dtype=torch.float64)
        speeds = BASE ** -(torch.arange(count, dtype=torch.float64) / count)
        places = [start + (1 + axis) * steps for axis in range(self.axes)]
        each = [place[:, None] * speeds * (not self.still) for place in places]
        wide = torch.cat([WIDTHS[self.form.width](angles) for angles in each], dim=-1)
        cos, sin = (SHAPES[self.form.shape](f(wide), items).to(x) for f in (torch.cos, torch.sin))
        precise = x.dtype if x.dtype in (torch.float32, torch.float64) else torch.float32
        turns = SHAPES[self.form.shape](torch.cat(each, dim=-1), items)
        values = {
            "cos": cos,
            "sin": sin,
            "both": (cos, sin),
            "turns": torch.complex(turns.cos().to(precise), turns.sin().to(precise)),
            "start": start,
            "places": places[0].long().expand(items, tokens),
        }
        return {name: values[role] for name, role in self.roles.items()}


def role(name: str) -> str:
    """What an argument of this name is handed: a key of `Handed.roles`' values, "" if nothing."""
    plain = name.lower()
    known = {"cos": COS, "sin": SIN, "both": BOTH, "turns": TURNS, "start": START, "places": PLACES}
    return next((r for r, pattern in known.items() if pattern.fullmatch(plain)), "")


def wanted(required: Sequence[str], optional: Sequence[str]) -> dict[str, str]:
    """The arguments beside x that are to be handed, by name.

    Whatever has to be given; of the others cosines and sines, which come together.
    """
    found = {name: role(name) for name in required if role(name)}
    if not set(TABLES) & set(found.values()):
        tables = {name: role(name) for name in optional if role(name) in TABLES}
        if len(tables) == 1 or {"cos", "sin"} <= set(tables.values()):
            found |= tables
    return found


def hook_of(module: nn.Module) -> Handed | None:
    """What is handed to a module."""
    hooks = module._forward_pre_hooks.values()
    return next((hook for hook in hooks if isinstance(hook, Handed)), None)


def handed_to(module: nn.Module) -> frozenset[str]:
    """The names of the arguments that are handed to a module before each call."""
    hook = hook_of(module)
    return frozenset(hook.roles) if hook else frozenset()
