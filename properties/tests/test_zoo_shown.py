"""Each fault of `zoo/faults` that a vector tells has a flag that gives the same, or it is said why not.

A module of projections is handed queries, keys and values side by side; its matrices take them apart.
"""

from __future__ import annotations

import inspect
import warnings
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

import properties
from properties.basics.dtypes import Array
from properties.tests.test_vectors import entries
from properties.truth.oracle import merge
from properties.vectors.groups import groups
from properties.vectors.notes import KNOWN_AS, NOT_SHOWN, flag_of
from properties.vectors.right import bounds_of
from properties.vectors.selection import far
from properties.vectors.shown import of_the_zoo, shown
from properties.vectors.vector import Vector
from properties.vectors.wrong import wrong_ones
from properties.zoo.faults import Fault, faults
from properties.zoo.faults.plain import PlainCausal, PlainMultiHead, PlainSelf, PlainWrapper
from properties.zoo.wide import held_ones

TABLE = shown()
FAMILIES = {
    "multihead": PlainMultiHead,
    "causal": PlainCausal,
    "wrapper": PlainWrapper,
    "self": PlainSelf,
}
PARTS = ("W_query", "W_key", "W_value")


class Unprojected(torch.nn.Linear):
    """An output projection that leaves all as it is, and a NaN in the columns where it was."""

    def forward(self, context: torch.Tensor) -> torch.Tensor:
        return context


@cache
def asked() -> tuple[Vector, ...]:
    """Those that such a module can be asked: the flag at most, as many keys as queries, one width."""
    every = [v for group in groups() for v in group.vectors]
    return tuple(v for v in every if not v.refused and v.upstream is None and square(v))


def square(vector: Vector) -> bool:
    """Whether queries, keys and values are of one shape, and nothing is told but the flag."""
    told = {name for name, value in vars(vector.options).items() if value is not None}
    shapes = {part.integers.shape for part in (vector.queries, vector.keys, vector.values)}
    return told <= {"causal"} and len(shapes) == 1


Shown = list[tuple[Vector, str, Array]]
"""Vectors, the format, and what came, (B, T, W)."""


@cache
def showing(fault: Fault) -> Shown:
    """The vectors that tell it by a number or by the shape, in the first format in which there are any."""
    base = FAMILIES.get(fault.family)
    if base is None or not inspect.isclass(fault.module) or not issubclass(fault.module, base):
        return []
    hides = fault.family != "self"
    mine = [vector for vector in asked() if bool(vector.options.causal) == hides]
    for dtype in ("float32", "float64", "float16", "bfloat16"):
        came = [(vector, dtype, came_of(fault, vector, dtype)) for vector in mine]
        told = [
            (v, d, found)
            for v, d, found in came
            if found is not None and beyond(fault, v, d, found)
        ]
        if told:
            return told
    return []


def came_of(fault: Fault, vector: Vector, dtype: str) -> Array | None:
    """What a vector gets in one format, (B, T, W); None where the module cannot be made or run there."""
    parts = [laid(fault, x.array) for x in (vector.queries, vector.keys, vector.values)]
    x = np.concatenate([merge(part) for part in parts], axis=-1)
    try:
        return run(fault, x, parts[0].shape[1:], getattr(torch, dtype))
    except (RuntimeError, TypeError, ValueError):
        return None


def laid(fault: Fault, part: Array) -> Array:
    """(B, H, T, W), or (B * H, 1, T, W) for a module of one head: heads are items there."""
    return part.reshape(-1, 1, *part.shape[2:]) if fault.family in ("self", "causal") else part


def beyond(fault: Fault, vector: Vector, dtype: str, found: Array) -> bool:
    """Whether its shape or any of its numbers is not right."""
    right, allowed = (
        merge(laid(fault, part)) for part in (vector.call.parts.output, bound(vector, dtype))
    )
    return found.shape != right.shape or bool((far(found, right) > allowed).any())


def names(fault: Fault, *flags: str) -> dict[str, float]:
    """By flag, of all or of these: on how many of the vectors that tell the fault it gives the same."""
    shown = showing(fault)
    like = Counter(flag for one in shown for flag in same(fault, flags, *one))
    return {flag: number / len(shown) for flag, number in like.items()}


def same(
    fault: Fault, flags: tuple[str, ...], vector: Vector, dtype: str, found: Array
) -> set[str]:
    """Within the bound of the format, or a thousandth of how far the result is from what is right."""
    right = merge(laid(fault, vector.call.parts.output))
    apart = far(found, right)
    near = np.max(apart[np.isfinite(apart)], initial=0.0) / 1000.0
    allowed = np.maximum(merge(laid(fault, bound(vector, dtype))), near)
    return {
        flag
        for flag, output, any_ in flagged(vector, fault.family in ("self", "causal"))
        if not flags or flag in flags
        if (far(found, output, any_) <= allowed).all()
    }


@cache
def flagged(vector: Vector, alone: bool) -> list[tuple[str, Array, Array]]:
    """Each flag, what it gives, (B, T, W), and where that may be any number; alone: for one head."""
    like = Fault("", Any, "self" if alone else "multihead", (), "", "")
    shape = vector.call.parts.output.shape
    return [
        (name, *(merge(laid(like, np.broadcast_to(part, shape))) for part in both))
        for name, parts in wrong_ones(vector)
        for both in [(parts.output, parts.nothing[..., None])]
        if parts.output.shape == shape
    ]


@cache
def bound(vector: Vector, dtype: str) -> Array:
    """(B, H, T, E)."""
    return bounds_of(vector.call, dtype)["output"]


def run(fault: Fault, x: Any, sizes: tuple[int, int, int], kind: torch.dtype) -> Array:
    """A module of this fault, whose matrices take x apart, in evaluation."""
    heads, tokens, width = sizes
    d_in, d_out = x.shape[-1], heads * width
    given: dict[str, tuple[Any, ...]] = {
        "self": (d_in, d_out),
        "causal": (d_in, d_out, tokens + 1, 0.0),
        "multihead": (d_in, d_out, tokens + 1, 0.0, heads),
        "wrapper": (d_in, width, tokens + 1, 0.0, heads),
    }
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        module = fault.module(*given[fault.family])
        parts = module.heads if fault.family == "wrapper" else [module]
        for number, part in enumerate(parts):
            own = width if fault.family == "wrapper" else d_out
            for place, name in enumerate(PARTS):
                start = place * d_out + number * own
                getattr(part, name).weight.copy_(torch.eye(d_in)[start : start + own])
        if hasattr(module, "out_proj"):
            module.out_proj.__class__ = Unprojected
        found = module.to(kind).eval()(torch.tensor(x, dtype=kind))
        return np.asarray(found.double().numpy())


@cache
def own() -> dict[str, Fault]:
    """Faults that do not stand in `zoo/wide`, nor in a file with a reason."""
    wide = {one.target for one in held_ones().values()}
    every = {name: one for name, one in faults().items() if one.module not in wide}
    return {name: one for name, one in every.items() if file_of(one) not in TABLE["files"]}


def file_of(fault: Fault) -> str:
    """The file of `zoo/faults` that it stands in."""
    return fault.module.__module__.rpartition(".")[2]


def test_what_is_right_is_told_by_no_vector() -> None:
    for family, base in FAMILIES.items():
        assert showing(Fault("right", base, family, (), "", "")) == []


def test_each_fault_that_a_vector_tells_has_a_flag_or_it_is_said_why_it_has_none() -> None:
    told = {name for name, one in own().items() if showing(one)}
    assert told == TABLE["named"].keys() | TABLE["unnamed"].keys()
    assert TABLE["named"].keys() & TABLE["unnamed"].keys() == set()


def test_what_a_fault_gives_is_what_its_flag_gives() -> None:
    """On half of the vectors that tell it, or more."""
    shares = {n: names(own()[n], flag).get(flag, 0.0) for n, flag in TABLE["named"].items()}
    assert {name: share for name, share in shares.items() if share < 0.5} == {}


def test_a_fault_without_a_flag_gives_what_no_flag_gives() -> None:
    """It would stand among the named ones. A few have the numbers of a flag where sizes fall together."""
    like = {
        name: [flag for flag, share in names(own()[name]).items() if share > 0.75]
        for name, word in TABLE["unnamed"].items()
        if word != "other-shape"
    }
    assert {name: flags for name, flags in like.items() if flags} == {}


def test_each_other_fault_is_called_or_has_a_flag_of_its_formula_or_a_reason() -> None:
    """Functions are called in test_zoo_called."""
    untold = {name for name, one in own().items() if not showing(one)}
    said = [name for section in ("called", "flags", "faults") for name in TABLE[section]]
    assert untold == set(said)
    assert len(said) == len(set(said))


def test_the_table_has_words_that_are_told_and_flags_that_vectors_have() -> None:
    flags = {fault["flag"] for one in entries() for fault in one["faults"]}
    told = {*TABLE["flags"].values(), *TABLE["called"].values(), *TABLE["named"].values()}
    assert {flag_of(flag) for flag in told} <= flags
    used = {*TABLE["faults"].values(), *TABLE["files"].values(), *TABLE["unnamed"].values()}
    assert used == TABLE["words"].keys()


def test_the_pages_say_how_many_there_are() -> None:
    """What `attention-properties vectors vectors` prints, or writes into the folder's own page."""
    told = of_the_zoo()
    every = [one for result in ("valid", "invalid") for one in entries(result)]
    flags = {fault["flag"] for one in every for fault in one.get("faults", [])}
    root = Path(properties.__file__).parent.parent
    readme, changes = (
        " ".join((root / name).read_text(encoding="utf-8").split())
        for name in ("README.md", "CHANGELOG.md")
    )
    words = f"{len(flags)} known faults would give"
    assert words in readme
    assert f"what each of {words}" in changes
    assert f"committed as `vectors/`: {len(every)} of them" in changes
    assert f"Of {told['zoo']} wrong implementations" in readme
    assert f"{told['named'] + told['alike'] + told['wide']} are flagged" in readme


def test_every_fault_of_the_wide_zoo_that_is_a_fault_here_is_flagged_or_said_not_to_be() -> None:
    flags = {fault["flag"] for one in entries() for fault in one["faults"]}
    wide = {one.target: one for one in held_ones().values()}
    named = {wide[one.module].named for one in faults().values() if one.module in wide}
    unsaid = {n for n in named if flag_of(KNOWN_AS.get(n, n)) not in flags and n not in NOT_SHOWN}
    assert unsaid == set()
