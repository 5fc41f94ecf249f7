"""Each of 8192 keys is told apart in short formats, on torch's own kernels; nothing right is accused."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from properties.basics.assertions import Violation
from properties.basics.dtypes import FORMATS
from properties.cases.far_keys import (
    LENGTHS,
    STEP,
    all_keys,
    edges,
    question,
    rows_of,
    share,
)
from properties.findings.scripts import text
from properties.recognition.targets import find
from properties.subjects.subject import Subject
from properties.truth.attend import attend

KERNELS = [SDPBackend.MATH, SDPBackend.FLASH_ATTENTION]
SHORT = ["bfloat16", "float16"]
Change = Callable[[Tensor], Tensor]


def kernel(backend: SDPBackend, change: Change = lambda part: part) -> Subject:
    """Torch's own, of keys and values that are changed where there are thousands."""

    def attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        if key.shape[-2] > 4096:
            key, value = change(key), change(value)
        with sdpa_kernel(backend):
            return scaled_dot_product_attention(query, key, value)

    return find(attention, "self")[0]


def in_tiles(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Right, with every sum in the format itself, a tile of 112 keys after the other, and base two."""
    query = query * (query.shape[-1] ** -0.5 * 1.4426950408889634)
    highest = torch.full_like(query[..., :1], -torch.inf)
    total, context = torch.zeros_like(highest), torch.zeros_like(query[..., :1] * value[..., :1, :])
    for keys, values in zip(key.split(112, -2), value.split(112, -2), strict=True):
        scores = query @ keys.mT
        higher = torch.maximum(highest, scores.amax(-1, keepdim=True))
        shrink, weights = torch.exp2(highest - higher), torch.exp2(scores - higher)
        total = total * shrink + weights.sum(-1, keepdim=True)
        context, highest = context * shrink + weights @ values, higher
    return context / total


@pytest.mark.parametrize("dtype", SHORT)
@pytest.mark.parametrize("backend", KERNELS, ids=lambda one: one.name)
@pytest.mark.parametrize(
    ("keys", "change"),
    [
        (8192, lambda part: part[..., :-1, :]),
        (8191, lambda part: part[..., :8128, :]),
        (8192, lambda part: torch.cat([part[..., :4032, :], part[..., 4096:, :]], -2)),
        (8191, lambda part: torch.nn.functional.pad(part, (0, 0, 0, 1))),
    ],
    ids=["last key", "rest", "tile", "zeros"],
)
def test_a_forgotten_key_tile_or_rest_of_8192_is_told_in_short_formats(
    keys: int, change: Change, backend: SDPBackend, dtype: str
) -> None:
    with pytest.raises(Violation):
        share(kernel(backend, change), keys, dtype, False)


def test_one_key_anywhere_is_told_by_its_number() -> None:
    kept = torch.arange(8192) != 5000
    subject = kernel(SDPBackend.FLASH_ATTENTION, lambda part: part[..., kept, :])
    assert share(subject, 8192, "bfloat16", False) < 0.1
    with pytest.raises(Violation, match=r"a weight of 0\.0625 .* got 0 at query 56, key 5000"):
        share(subject, 8192, "bfloat16", True)


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("keys", LENGTHS)
def test_what_is_right_uses_little_of_the_bound(keys: int, dtype: str) -> None:
    subjects = [*map(kernel, KERNELS), find(in_tiles, "self")[0]]
    assert max(share(subject, keys, dtype, False) for subject in subjects) < 0.1


@pytest.mark.parametrize("dtype", FORMATS)
def test_every_number_is_exact_in_its_format(dtype: str) -> None:
    rows = rows_of(8191, STEP[dtype], edges(8191))
    for part in (rows.queries, rows.keys, rows.values):
        assert (FORMATS[dtype].round(part) == part).all()


def test_what_leads_is_the_mean_by_the_definition() -> None:
    """Every row, of fewer keys: the others weigh nothing even in float64."""
    rows = rows_of(523, STEP["float64"], all_keys(523))
    asked = question(kernel(KERNELS[0]), 523, "float64", all_keys(523))
    q, k, v = (part[None, None] for part in (rows.queries, rows.keys, rows.values))
    right = rows.leads @ rows.values / rows.leads.sum(axis=1, keepdims=True)
    assert np.allclose(attend(q, k, v, asked.request).context[0, 0], right, rtol=1e-14, atol=0.0)


@pytest.mark.parametrize("keys", LENGTHS)
def test_every_key_leads_twice_and_every_tile_has_an_edge(keys: int) -> None:
    every = rows_of(keys, 1.0, all_keys(keys)).leads.sum(axis=0)
    assert set(every.tolist()) == {2}
    led = np.flatnonzero(rows_of(keys, 1.0, edges(keys)).leads.any(axis=0))
    assert {0, keys - 1} <= set(led.tolist())
    assert max(later - earlier for earlier, later in pairwise(led.tolist())) <= 63


def test_many_numbers_are_written_in_few_bytes_and_read_back_the_same() -> None:
    """In scripts, which hold the numbers of a case."""
    keys = rows_of(8192, 1.0, edges(8192)).keys
    source = text.tensor(keys)
    assert len(source) < 100_000
    again = eval(source, {"torch": torch, "np": np, "zlib": zlib, "base64": base64})
    assert (again.numpy() == keys).all()


def test_a_failure_that_is_kept_keeps_no_arrays_and_does_not_grow() -> None:
    """It is raised anew for each example, and its frames would hold the tensors of the call."""
    wrong = kernel(SDPBackend.MATH, lambda part: part[..., :-1, :])
    for _ in range(2):
        with pytest.raises(Violation) as told:
            share(wrong, 8192, "float16", False)
        assert len(told.traceback) == 2
        assert told.value.__context__ is None
