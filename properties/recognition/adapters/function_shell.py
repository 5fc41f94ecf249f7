"""Functions of queries, keys and values, and what is put around one so that it maps tokens to tokens.

Legend: B batch, T tokens, H heads, D head_dim, W = H * D.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from properties.recognition.adapters import trials
from properties.recognition.adapters.required import Required, notes
from properties.recognition.adapters.spellings import LETTER
from properties.recognition.asking import declined, packed
from properties.recognition.asking.as_function import AsFunction
from properties.recognition.asking.folded import Folded
from properties.recognition.asking.headed import Headed
from properties.recognition.asking.in_a_tuple import InATuple
from properties.recognition.asking.in_lists import InLists
from properties.recognition.asking.in_one import InOne
from properties.recognition.asking.merged import Merged
from properties.recognition.asking.nested import Nested
from properties.recognition.asking.of_module import OfModule
from properties.recognition.asking.on_device import OnDevice
from properties.recognition.asking.one_by_one import OneByOne
from properties.recognition.asking.one_key_head import OneKeyHead
from properties.recognition.asking.segments import SegmentsTwice
from properties.recognition.asking.tokens_first import TokensFirst
from properties.recognition.asking.widened import Widened
from properties.recognition.asking.written import Written
from properties.subjects.call import axes
from properties.subjects.instance import seed_generators
from properties.subjects.limits import Limits
from properties.subjects.subject import CAUSAL_FAMILIES, HEADED_FAMILIES, JOINED_FAMILIES, Config
from properties.truth.parameters import Sizes, Weights

AROUND = (
    packed.Packed,
    Merged,
    Folded,
    OneByOne,
    OneKeyHead,
    TokensFirst,
    SegmentsTwice,
    InOne,
    OfModule,
    Nested,
    Widened,
    InATuple,
    InLists,
    Required,
    Headed,
    Written,
    OnDevice,
    AsFunction,
)
SIZES = Sizes(batch=3, tokens=5, d_in=6, heads=2, head_dim=4, context_length=7)
LAYOUTS = ("B H T D", "B T H D")
FIRST = "T B H D"
APART = ("B*H T D", "T H D", "T D", "B H T D and B S D")
"""Those in which a batch of heads is not handed over as it is, see `Folded`, `OneByOne`, `OneKeyHead`."""


@dataclass(frozen=True)
class Function:
    """A function of queries, keys and values, its arguments for the rest, and how it is called.

    layout: one of `LAYOUTS`, of what stands around it; dropped_by: whether its argument for dropout is a
    module, not a probability; part: where the context stands in the tuple that it returns, None if it is
    all; arguments: those besides queries, keys, values and dropout; unasked: those of them that keep their
    defaults; undropped: what it says where it takes no dropout; further: whether there are other tensors in
    that tuple; trial: the format of trials; limits: the widths of heads that it takes.
    """

    call: Callable[..., Any]
    name: str
    causal: str = ""
    dropout: str = ""
    layout: str = LAYOUTS[0]
    dropped_by: bool = False
    part: int | None = None
    arguments: tuple[str, ...] = ()
    unasked: Mapping[str, str] = field(default_factory=dict)
    undropped: str = "no argument is called dropout_p / dropout or the like"
    further: bool = False
    trial: str = "float32"
    limits: Limits = field(default_factory=Limits)

    @property
    def packed(self) -> tuple[str, ...]:
        """Its arguments for documents that are packed one after the other, see `packed.Names`."""
        return self.call.names if isinstance(self.call, packed.Packed) else ()


class Shell(nn.Module):
    """What a function of queries, keys and values needs to be an attention module.

    With families multihead and encoder there is an output projection; with self and encoder,
    nothing is hidden.
    """

    def __init__(self, function: Function, config: Config, family: str) -> None:
        """Draw the projections; ValueError if the heads do not divide the width."""
        super().__init__()
        sizes = config.sizes
        self.function, self.family, self.num_heads = function, family, sizes.heads
        if config.width % sizes.heads:
            raise ValueError(f"width {config.width} is not divisible by {sizes.heads} heads")
        self.W_query = nn.Linear(sizes.d_in, config.width, bias=config.bias)
        self.W_key = nn.Linear(sizes.d_in, config.width, bias=config.bias)
        self.W_value = nn.Linear(sizes.d_in, config.width, bias=config.bias)
        projected = family in JOINED_FAMILIES
        self.out_proj = nn.Linear(config.width, config.width) if projected else nn.Identity()
        self.dropout: Any = config.dropout
        if function.dropped_by:
            self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Any:
        """Map (B, T, d_in) to (B, T, W); what is no (B, H, T, D) is returned as it is."""
        context = self.attend(*self.handed_over(x))
        if not isinstance(context, Tensor) or context.ndim != 4:
            return context
        return self.out_proj(context.transpose(1, 2).flatten(2))  # (B, H, T, D) -> (B, T, W)

    def handed_over(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The queries, keys and values (B, H, T, D) of x, views of what the projections give."""
        layers = (self.W_query, self.W_key, self.W_value)
        query, key, value = (self.split(layer(x)) for layer in layers)
        return query, key, value

    def attend(self, *parts: Tensor) -> Any:
        """Three times (B, H, T, D) to the same, by the function in its own layout."""
        function = self.function
        options: dict[str, Any] = {}
        if function.causal:
            options[function.causal] = self.family in CAUSAL_FAMILIES
        if function.dropout:
            live = function.dropped_by or self.training
            options[function.dropout] = self.dropout if live else 0.0
        if function.layout in ("B T H D", "N H D"):
            context = self.context(*(part.transpose(1, 2) for part in parts), **options)
            return context.transpose(1, 2) if getattr(context, "ndim", 0) == 4 else context
        return self.context(*parts, **options)

    def context(self, *parts: Tensor, **options: Any) -> Any:
        """What the function returns, or its part that is the context."""
        returned = self.function.call(*parts, **options)
        if self.function.part is None or not isinstance(returned, tuple):
            return returned
        return returned[self.function.part]

    def split(self, x: Tensor) -> Tensor:
        """(B, T, W) -> (B, H, T, D)."""
        batch, tokens, width = x.shape
        return x.reshape(batch, tokens, self.num_heads, width // self.num_heads).transpose(1, 2)


class DecliningShell(Shell):
    """The same; DeclinedError where the function says that it does not support a call."""

    def context(self, *parts: Tensor, **options: Any) -> Any:
        """See `Shell`."""
        try:
            return super().context(*parts, **options)
        except BaseException as error:
            declined.require_support(error)
            raise


def shell_of(function: Function, family: str, config: Config | None = None) -> Shell:
    """A new shell of the config's format, for a trial if nothing else is asked for; torch's random state
    is left alone.
    """
    config = config or trial_config(function, family)
    with torch.random.fork_rng(devices=[]):
        seed_generators(config.seed)
        return DecliningShell(function, config, family).to(getattr(torch, config.dtype))


def trial_config(function: Function, family: str) -> Config:
    """A request for a trial of the function in this family."""
    heads = SIZES.heads if family in HEADED_FAMILIES else 1
    head_dim = function.limits.head_dim(SIZES.head_dim)
    return Config(replace(SIZES, heads=heads, head_dim=head_dim), dtype=function.trial)


def random_heads(function: Function, seed: int) -> Tensor:
    """(B, H, T, D) of moderate numbers, its sizes pairwise different."""
    head_dim = function.limits.head_dim(SIZES.head_dim)
    part = trials.random_input(SIZES.batch, SIZES.heads, SIZES.tokens, head_dim, seed=seed)
    return part.to(getattr(torch, function.trial))


def load(shell: Shell, weights: Weights) -> None:
    """Copy all weights into the shell's own layers."""
    with torch.no_grad():
        for role in LETTER:
            layer, bias = getattr(shell, f"W_{role}"), getattr(weights, f"{role}_bias")
            copy(layer, getattr(weights, role), bias)
        if isinstance(shell.out_proj, nn.Linear):
            out = np.eye(shell.out_proj.in_features) if weights.out is None else weights.out
            copy(shell.out_proj, out, weights.out_bias)


def copy(layer: nn.Linear, matrix: Any, bias: Any) -> None:
    """Copy a matrix (in, out) and a bias (out,), or zeros."""
    layer.weight.copy_(torch.tensor(matrix.T))
    if layer.bias is not None:
        layer.bias.copy_(torch.zeros_like(layer.bias) if bias is None else torch.tensor(bias))


def told(function: Function) -> list[str]:
    """How the function is called, where that is not the usual way."""
    found = []
    if (layout := layout_of(function)) != LAYOUTS[0]:
        found.append(f"query, key and value are handed over as {axes(layout)}")
    if wide := next((way for way in ways(function.call) if isinstance(way, Widened)), None):
        found.append(f"{wide.name} is {wide.wide} wherever no window is asked about")
    for way in ways(function.call):
        if isinstance(way, OnDevice):
            found.append(f"it refuses tensors on the CPU: they are copied to {way.device} and back")
        found += notes(way) if isinstance(way, Required) else []
        if isinstance(way, OfModule):
            found.append(
                "in place of its module it gets an object that says that it is in training"
            )
        if isinstance(way, Nested):
            found.append("it is asked in lists of Python's numbers")
        if isinstance(way, InOne):
            joined = "query, key and value" if way.parts == 3 else "key and value"
            found.append(
                f"{joined} are handed over in one tensor, {way.parts} along axis {way.axis}"
            )
        if isinstance(way, InLists):
            found.append("query, key and value are handed over as lists, a matrix for each head")
        if isinstance(way, Written):
            found.append(f"what is written into {way.name} is judged; infinity stands there before")
        if isinstance(way, Headed) and way.merges:
            rows = "(T, B, H * D)" if isinstance(way.function, TokensFirst) else "(B, T, H * D)"
            found.append(f"heads are merged in what it is given, {rows}, and told by {way.heads}")
    if isinstance(function.call, Merged):
        found.append("heads are merged in what it returns, (B, T, H * D); they are split again")
    if function.dropped_by:
        found.append(f"{function.dropout} is given a torch.nn.Dropout")
    if function.part is not None:
        first = next((w.first for w in ways(function.call) if isinstance(w, InATuple)), 0)
        found.append(f"of the tuple returned, part {first} is judged: the context")
    return found


def ways(call: Callable[..., Any]) -> Iterator[Callable[..., Any]]:
    """What stands around a function, from outside, and the function."""
    while isinstance(call, AROUND):
        yield call
        call = call.function
    yield call


def layout_of(function: Function) -> str:
    """The order of the axes of what is handed to the function itself."""
    kinds = Folded | OneByOne | OneKeyHead | TokensFirst
    around = [way for way in ways(function.call) if isinstance(way, kinds)]
    if not around:
        return function.layout
    if isinstance(around[-1], TokensFirst):
        return FIRST if function.layout == "B T H D" else function.layout
    if isinstance(around[-1], OneKeyHead):
        return APART[3]
    if isinstance(around[-1], Folded):
        return APART[0]
    return APART[1] if around[-1].heads else APART[2]
