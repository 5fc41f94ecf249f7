"""Which faults of `zoo/faults` the vectors tell: they are run on them, or it is said why one call cannot.

A module of projections is handed queries, keys and values side by side; its matrices take them apart.
"""

from __future__ import annotations

import inspect
import tomllib
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from properties.tests.test_vectors import entries
from properties.truth.oracle import merge
from properties.vectors.groups import groups
from properties.vectors.notes import KNOWN_AS, NOT_SHOWN, flag_of
from properties.vectors.right import bounds_of
from properties.vectors.selection import far
from properties.vectors.vector import Vector
from properties.zoo.faults import Fault, faults
from properties.zoo.faults.plain import PlainCausal, PlainMultiHead, PlainSelf, PlainWrapper
from properties.zoo.wide import held_ones

Told = dict[str, Any]
TABLE: Told = tomllib.loads((Path(__file__).parent / "data" / "shown.toml").read_text("utf-8"))
FAMILIES = {
    "multihead": PlainMultiHead,
    "causal": PlainCausal,
    "wrapper": PlainWrapper,
    "self": PlainSelf,
}
PARTS = ("W_query", "W_key", "W_value")


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


def is_told(fault: Fault) -> bool:
    """Whether a vector tells it, in some format: its shape, or a number beyond the bound."""
    base = FAMILIES.get(fault.family)
    if base is None or not inspect.isclass(fault.module) or not issubclass(fault.module, base):
        return False
    hides = fault.family != "self"
    mine = [vector for vector in asked() if bool(vector.options.causal) == hides]
    order = ("float32", "float64", "float16", "bfloat16")
    return any(differs(fault, vector, dtype) for dtype in order for vector in mine)


def differs(fault: Fault, vector: Vector, dtype: str) -> bool:
    """Whether one vector tells it in one format; what cannot be made or run there is not told."""
    alone = fault.family in ("self", "causal")  # one head: heads are items
    arrays = [part.array for part in (vector.queries, vector.keys, vector.values)]
    arrays += [vector.call.parts.output, bound(vector, dtype)]
    if alone:
        arrays = [part.reshape(-1, 1, *part.shape[2:]) for part in arrays]
    heads, tokens, width = arrays[0].shape[1:]
    x, right, allowed = merge_all(arrays[:3]), merge(arrays[3]), merge(arrays[4])
    try:
        found = run(fault, x, (heads, tokens, width), getattr(torch, dtype))
    except (RuntimeError, TypeError, ValueError):
        return False
    return found.shape != right.shape or bool((far(found, right) > allowed).any())


@cache
def bound(vector: Vector, dtype: str) -> np.ndarray[Any, Any]:
    """(B, H, T, E)."""
    return bounds_of(vector.call, dtype)["output"]


def merge_all(arrays: list[np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
    """Side by side, (B, T, 3 W)."""
    return np.concatenate([merge(part) for part in arrays], axis=-1)


def run(
    fault: Fault, x: Any, sizes: tuple[int, int, int], kind: torch.dtype
) -> np.ndarray[Any, Any]:
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
            module.out_proj.weight.copy_(torch.eye(d_out))
            module.out_proj.bias.zero_()
        found = module.to(kind).eval()(torch.tensor(x, dtype=kind))
        return np.asarray(found.double().numpy())


@cache
def untold() -> dict[str, Fault]:
    """Faults of neither `zoo/wide` nor a file with a reason, which are not told when they are run."""
    wide = {one.target for one in held_ones().values()}
    own = {name: one for name, one in faults().items() if one.module not in wide}
    run = {name: one for name, one in own.items() if file_of(one) not in TABLE["files"]}
    return {name: one for name, one in run.items() if not is_told(one)}


def file_of(fault: Fault) -> str:
    """The file of `zoo/faults` that it stands in."""
    return fault.module.__module__.rpartition(".")[2]


def test_what_is_right_is_told_by_no_vector() -> None:
    for family, base in FAMILIES.items():
        assert not is_told(Fault("right", base, family, (), "", ""))


def test_every_fault_of_the_zoo_is_told_or_flagged_or_one_call_cannot_show_it() -> None:
    """What a single call could show and no vector does stands in `left`."""
    known = {**TABLE["faults"], **TABLE["flags"], **TABLE["left"]}
    unsaid = [f"{file_of(one)}: {name}" for name, one in untold().items() if name not in known]
    assert unsaid == []


def test_the_table_names_faults_that_there_are_and_flags_that_vectors_have() -> None:
    flags = {fault["flag"] for one in entries() for fault in one["faults"]}
    said = {**TABLE["faults"], **TABLE["flags"], **TABLE["left"]}
    assert said.keys() - untold().keys() == set()
    assert {flag_of(flag) for flag in TABLE["flags"].values()} <= flags
    assert {*TABLE["faults"].values(), *TABLE["files"].values()} <= TABLE["words"].keys()


def test_every_fault_of_the_wide_zoo_that_is_a_fault_here_is_flagged_or_said_not_to_be() -> None:
    flags = {fault["flag"] for one in entries() for fault in one["faults"]}
    wide = {one.target: one for one in held_ones().values()}
    named = {wide[one.module].named for one in faults().values() if one.module in wide}
    unsaid = {n for n in named if flag_of(KNOWN_AS.get(n, n)) not in flags and n not in NOT_SHOWN}
    assert unsaid == set()
