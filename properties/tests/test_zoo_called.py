"""Functions of `zoo/faults` with masks, flags or groups, run on vectors that have these: each has its flag.

Those of zoo/wide are held in test_vector_zoo.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from properties.basics.dtypes import Array
from properties.tests.test_vector_zoo import of_packed
from properties.tests.test_vectors import entries
from properties.vectors.groups import groups
from properties.vectors.notes import flag_of
from properties.vectors.right import bounds_of
from properties.vectors.selection import far
from properties.vectors.shown import shown
from properties.vectors.vector import Vector
from properties.vectors.wrong import wrong_ones
from properties.zoo.faults import Fault, faults

TAKEN = {
    "mask": "mask",
    "is_causal": "causal",
    "enable_gqa": "groups",
    "return_weights": "weights",
    "segment_ids": "starts",
    "scale": "scale",
}
"""By argument: what a vector calls it."""
CALLED = shown()["called"]
Came = dict[str, Array]


def told(vector: Vector) -> set[str]:
    """What it needs besides queries, keys and values."""
    shared = vector.queries.integers.shape[1] != vector.keys.integers.shape[1]
    names = {name for name, value in vars(vector.options).items() if value is not None}
    return names | ({"groups"} if shared else set())


def arguments(vector: Vector) -> dict[str, Any]:
    """By the names of `TAKEN`."""
    options = vector.options
    found: dict[str, Any] = {"return_weights": True, "enable_gqa": True}
    if options.mask is not None:
        found["mask"] = torch.tensor(np.broadcast_to(options.mask, vector.shape))
    if options.causal is not None:
        found["is_causal"] = options.causal
    if options.starts is not None:
        found["segment_ids"] = torch.arange(len(vector.lengths)).repeat_interleave(
            torch.tensor(vector.lengths[:, 0])
        )[None]
    return found


def answer(fault: Fault, vector: Vector) -> Came | None:
    """What it gives in float32; None where the vector needs what it does not take."""
    takes = inspect.signature(fault.module).parameters.keys() - {"query", "key", "value"}
    parts = [torch.tensor(p.array).float() for p in (vector.queries, vector.keys, vector.values)]
    if "cu_seqlens_q" in takes:
        return packed(fault, vector, parts)
    segments = vector.options.starts
    if told(vector) - {TAKEN[name] for name in takes} or (segments and segments[0] != segments[1]):
        return None
    given = {name: value for name, value in arguments(vector).items() if name in takes}
    found = fault.module(*parts, **given)
    both = found if isinstance(found, tuple) else (found,)
    return {
        name: np.asarray(part.double().numpy())
        for name, part in zip(("output", "weights"), both, strict=False)
    }


def packed(fault: Fault, vector: Vector, parts: list[Tensor]) -> Came | None:
    """Of documents, laid out as flash-attention takes them."""
    if vector.options.starts is None or told(vector) - {"starts", "causal"}:
        return None
    options = {f"cu_seqlens_{side}": x for side, x in zip("qk", vector.options.starts, strict=True)}
    options["causal"] = bool(vector.options.causal)
    one: Any = SimpleNamespace(target=fault.module)
    return {"output": of_packed(one, options, *parts)["output"].double().numpy()}


def carrying(flag: str) -> Iterator[Vector]:
    """Those that are answered by an output and have a flag."""
    own = flag_of(flag)
    have = {one["tcId"] for one in entries() if own in {f["flag"] for f in one["faults"]}}
    for group in groups():
        yield from (v for v in group.vectors if v.number in have and v.upstream is None)


def is_named(vector: Vector, flag: str, found: Came) -> bool:
    """Whether it is beyond the bound, and within it, or a thousandth of the way, of what the flag gives."""
    right, bound = vector.call.parts, bounds_of(vector.call, "float32")
    apart = {name: far(part, getattr(right, name)) for name, part in found.items()}
    if all((apart[name] <= bound[name]).all() for name in found):
        return False
    near = max(np.max(x[np.isfinite(x)], initial=0.0) for x in apart.values()) / 1000.0
    for name, parts in wrong_ones(vector):
        if name == flag and parts.output.shape == right.output.shape:
            like = {
                n: far(part, getattr(parts, n), parts.nothing[..., None])
                for n, part in found.items()
            }
            if all((like[n] <= np.maximum(bound[n], near)).all() for n in found):
                return True
    return False


@pytest.mark.parametrize("name", CALLED)
def test_a_vector_tells_it_and_names_it(name: str) -> None:
    fault = faults()[name]
    for vector in carrying(CALLED[name]):
        found = answer(fault, vector)
        if found is not None and is_named(vector, CALLED[name], found):
            return
    pytest.fail("no vector names it")
