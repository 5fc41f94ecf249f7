"""Calls are asked in every way in which their tensors may be handed over, and under dropout."""

from __future__ import annotations

import torch

from properties.recognition.asking.functions import reordered
from properties.recognition.targets import find
from properties.spec.clause import clauses
from properties.zoo.wide import sound_ones

DROPOUT = clauses()["paths/hides-under-dropout"]


def test_a_function_that_refuses_dropout_is_not_asked_under_it() -> None:
    blocks, matrix = (
        find(sound_ones()[name].target)[0]
        for name in ("flash-block-by-block", "flash-in-one-matrix")
    )
    assert not DROPOUT.concerns(blocks)
    assert DROPOUT.concerns(matrix)


def test_another_order_in_memory_holds_the_same_numbers() -> None:
    for part in (torch.randn(2, 3, 4, 5), torch.rand(2, 1, 4, 3) < 0.5):
        for how in ("transposed", "spaced"):
            other = reordered(part, how)
            assert torch.equal(other, part)
            assert other.stride() != part.stride()
