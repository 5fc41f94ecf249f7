"""Functions of `zoo/wide` held against the vectors: right ones pass in two formats, wrong ones are flagged.

Arrays are read from the files, as a stranger would read them.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from properties.tests.test_vectors import committed, numbers
from properties.vectors.notes import KNOWN_AS, NOT_SHOWN, flag_of
from properties.zoo.wide import Sound, held_ones, sound_ones

TAKES = {
    "sdpa-like": {"mask", "bias", "padding", "causal", "scale", "groups"},
    "flash-like": {"causal", "window", "softcap", "scale", "alibi", "groups"},
    "packed": {"cu_seqlens", "causal", "groups"},
}
EMPTY = {"zeros": "zero", "nan": "nan", "uniform": "uniform", "": ""}
RIGHT = [one for one in sound_ones().values() if one.kind in TAKES]
WRONG = [one for one in held_ones().values() if one.kind in TAKES and one.named not in NOT_SHOWN]
SAME_WIDTH = {"flash-block-by-block", "packed-one-by-one"}
"""Those that want values as wide as keys."""
FORMATS = ("float32", "bfloat16", "float16")


def asked(one: Sound) -> Iterator[Any]:
    """The tests that it can take, by its conventions."""
    for file in committed().values():
        told = file["conventions"]
        align, empty = told.get("causal_diagonal", ""), told.get("rows_that_see_nothing", "")
        if align not in ("", one.says["corner"]) or EMPTY[empty] not in ("", one.says["empty"]):
            continue
        for test in file["tests"]:
            both = {"bias", "mask"} <= set(test["needs"]) or {"bias", "padding"} <= set(
                test["needs"]
            )
            taken = set(test["needs"]) <= TAKES[one.kind] and not both
            packed = one.kind != "packed" or "cu_seqlens" in test["needs"]
            if test["result"] == "valid" and "do" not in test and taken and packed:
                yield test


Parts = dict[str, Tensor]


def answer(one: Sound, test: Any, dtype: str) -> dict[str, list[float]]:
    """What it gives: the output, and the LSE of those that are asked for it."""
    kind = getattr(torch, dtype)
    q, k, v = (torch.tensor(numbers(test[name]), dtype=kind) for name in "qkv")
    told = test["options"]
    if one.name in SAME_WIDTH:
        told = {"scale": q.shape[-1] ** -0.5} | told
        widest = max(q.shape[-1], v.shape[-1])
        q, k, v = (functional.pad(part, (0, widest - part.shape[-1])) for part in (q, k, v))
    given = {"sdpa-like": of_sdpa, "flash-like": of_flash, "packed": of_packed}[one.kind]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = given(one, told, q, k, v)
    found["output"] = found["output"][..., : test["v"]["shape"][3]]
    return {name: part.double().flatten().tolist() for name, part in found.items()}


def of_sdpa(one: Sound, told: Any, q: Tensor, k: Tensor, v: Tensor) -> Parts:
    """(B, H, T, E)."""
    mask = torch.tensor(numbers(told["mask"]) > 0) if "mask" in told else None
    if "padding" in told:
        real = torch.tensor(numbers(told["padding"]) > 0)[:, None, None]
        mask = real.expand(len(q), 1, q.shape[2], -1) if mask is None else mask & real
    if mask is not None and one.says["mask"] == "hides":
        mask = ~mask
    if "bias" in told:
        mask = torch.tensor(numbers(told["bias"]), dtype=q.dtype)
    output = one.target(
        q,
        k,
        v,
        attn_mask=mask,
        is_causal=told.get("causal", False),
        scale=told.get("scale"),
        enable_gqa=q.shape[1] != k.shape[1],
    )
    return {"output": output}


def of_flash(one: Sound, told: Any, q: Tensor, k: Tensor, v: Tensor) -> Parts:
    """(B, T, H, D) in, and out; the LSE is asked for, and read by what is said of it."""
    left, right = told.get("window", (-1, -1))
    if one.says["window"] == "counts oneself":
        left, right = (side + 1 if side >= 0 else side for side in (left, right))
    slopes = torch.tensor(numbers(told["alibi"]), dtype=torch.float32) if "alibi" in told else None
    asking = next(n for n in inspect.signature(one.target).parameters if n.startswith("return"))
    found = one.target(
        *(part.transpose(1, 2) for part in (q, k, v)),
        softmax_scale=told.get("scale"),
        causal=told.get("causal", False),
        window_size=(left, right),
        softcap=told.get("softcap", 0.0),
        alibi_slopes=slopes,
        **{asking: True},
    )
    lse = found[1].double() * (np.log(2.0) if one.says["lse"] == "base 2" else 1.0)
    return {
        "output": found[0].transpose(1, 2),
        "lse": lse.transpose(1, 2) if one.says["heads"] == "(B, T, H)" else lse,
    }


def of_packed(one: Sound, told: Any, q: Tensor, k: Tensor, v: Tensor) -> Parts:
    """(N, H, D) in, and out."""
    starts = [torch.tensor(told[f"cu_seqlens_{side}"], dtype=torch.int32) for side in "qk"]
    longest = [int(start.diff().max()) for start in starts]
    parts = (part[0].transpose(0, 1) for part in (q, k, v))
    output = one.target(
        *parts, *starts, *longest, causal=told.get("causal", False), softmax_scale=told.get("scale")
    )
    return {"output": output.transpose(0, 1)[None]}


def off(found: list[float], wanted: list[Any]) -> np.ndarray[Any, Any]:
    """How far apart; null is any number, NaN is like NaN."""
    right = np.array([np.nan if x is None else float(x) for x in wanted])
    got = np.array(found)
    any_ = np.array([x is None for x in wanted])
    same = any_ | (got == right) | (np.isnan(got) & np.isnan(right))
    with np.errstate(invalid="ignore"):
        return np.where(same, 0.0, np.nan_to_num(np.abs(got - right), nan=np.inf, posinf=np.inf))


def looks(test: Any, found: dict[str, list[float]], dtype: str) -> set[str] | None:
    """The flags that explain all that came; None where it is right."""
    right = {n: test["expected"][n] for n in found if n in test["expected"]}
    right = {n: part for n, part in right.items() if part["bounds"][dtype] is not None}
    bounds = {n: np.array(part["bounds"][dtype]) for n, part in right.items()}
    apart = {n: off(found[n], part["data"]) for n, part in right.items()}
    if all((apart[n] <= bounds[n]).all() for n in right):
        return None
    near = max(x[np.isfinite(x)].max(initial=8e-8) for x in apart.values()) / 8
    return {
        fault["flag"]
        for fault in test["faults"]
        if all(
            (off(found[n], fault.get(n, part["data"])) <= np.maximum(bounds[n], near)).all()
            for n, part in right.items()
        )
    }


@pytest.mark.parametrize("one", RIGHT, ids=lambda one: one.name)
def test_what_is_right_passes_every_vector_that_it_can_take(one: Sound) -> None:
    tests = list(asked(one))
    assert len(tests) > 5
    for dtype in FORMATS[:2]:
        wrong = [t["tcId"] for t in tests if looks(t, answer(one, t, dtype), dtype) is not None]
        assert wrong == [], dtype


@pytest.mark.parametrize("one", WRONG, ids=lambda one: one.name)
def test_what_is_wrong_fails_a_vector_and_looks_like_its_flag(one: Sound) -> None:
    """In float32, or in float16 where it is wrong there alone."""
    flag = flag_of(KNOWN_AS.get(one.named, one.named))
    flags = {flag, flag.replace("bottom-right", "top-left")}
    for test in asked(one):
        told = {fault["flag"] for fault in test["faults"]}
        for dtype in ("float32", "float16"):
            if flags & told and flags & (looks(test, answer(one, test, dtype), dtype) or set()):
                return
    pytest.fail("no vector has this flag and shows it")
