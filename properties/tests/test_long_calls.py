"""Long rows of functions of queries, keys and values: what is asked, and how surely it tells."""

from __future__ import annotations

import numpy as np
import pytest

from properties.basics.dtypes import FORMATS
from properties.cases.long_calls import LENGTHS, question, truth
from properties.cases.long_rows import STEP
from properties.recognition.targets import find
from properties.subjects.subject import Subject
from properties.truth.attend import attend
from properties.zoo.wide import sound_ones

FLASH = find(sound_ones()["flash-in-one-matrix"].target)[0]
SDPA = find("torch.nn.functional:scaled_dot_product_attention")[0]
ROLES = [(SDPA, "mask"), (SDPA, "groups"), (FLASH, "window"), (FLASH, "groups")]


@pytest.mark.parametrize(("subject", "role"), ROLES, ids=lambda part: getattr(part, "name", part))
def test_each_key_dominates_a_row(subject: Subject, role: str) -> None:
    asked = question(subject, role, 130, "float32")
    q, k, v = (asked.inputs[name] for name in ("queries", "keys", "values"))
    weights = attend(q, k, v, asked.request).weights
    assert (weights.max(axis=(0, 1, 2)) > 0.99).all()


@pytest.mark.parametrize("dtype", STEP)
@pytest.mark.parametrize("tokens", LENGTHS)
def test_every_number_of_long_rows_is_exact_in_every_format(dtype: str, tokens: int) -> None:
    asked = question(SDPA, "groups", tokens, dtype)
    for part in asked.inputs.values():
        assert (FORMATS[dtype].round(part) == part).all()


@pytest.mark.parametrize("dtype", STEP)
@pytest.mark.parametrize("off", [-1, 1])
def test_a_window_off_by_one_key_is_beyond_the_bound(dtype: str, off: int) -> None:
    """In some row, in every format."""
    asked = question(FLASH, "window", 130, dtype)
    left, _ = asked.arguments.window or (0, 0)
    other, _ = truth(asked.changed(window=(left + off, 0)))
    right, allowed = truth(asked)
    assert (np.abs(other - right) > allowed).any()
