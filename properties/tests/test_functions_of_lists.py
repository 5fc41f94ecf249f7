"""Functions of lists, with a matrix for each head or for each sequence."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from properties.recognition.targets import find_one
from properties.runs.runner import run
from properties.tests.test_call_scripts import raised
from properties.tests.test_further_scripts import found

LAWS = ["oracle", "cross", "memory"]
FORMULA = "cross/as-many-keys-as-there-are"


def of_one(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """(T, D) -> (T, D)."""
    assert q.ndim == 2
    return (q @ k.T / math.sqrt(q.shape[1])).softmax(1) @ v


def of_sequences(queries: list[Tensor], keys: list[Tensor], values: list[Tensor]) -> list[Tensor]:
    """One after the other, as batches without padding are attended to."""
    return [of_one(q, k, v) for q, k, v in zip(queries, keys, values, strict=True)]


def of_heads(queries: list[Tensor], keys: list[Tensor], values: list[Tensor]) -> Tensor:
    """Side by side in the end, as teaching code has it."""
    return torch.cat(of_sequences(queries, keys, values), dim=-1)


def unscaled(queries: list[Tensor], keys: list[Tensor], values: list[Tensor]) -> list[Tensor]:
    """Wrong: the root is left out."""
    return of_sequences([q * math.sqrt(q.shape[1]) for q in queries], keys, values)


def of_the_first_keys(
    queries: list[Tensor], keys: list[Tensor], values: list[Tensor]
) -> list[Tensor]:
    """Wrong: every head reads the keys of the first one."""
    return of_sequences(queries, [keys[0] for _ in keys], values)


@pytest.mark.parametrize("function", [of_sequences, of_heads])
def test_a_function_of_lists_is_asked(function: Callable[..., Any]) -> None:
    subject = find_one(function)
    note = "query, key and value are handed over as lists, a matrix for each head"
    assert note in subject.notes
    report = run(subject, profile="quick", only=LAWS)
    assert [(r.clause, r.message) for r in report.results if r.status == "fail"] == []


def test_sequences_of_different_lengths_are_told_as_not_asked_about() -> None:
    assert "lists" in find_one(of_sequences).unasked
    assert "lists" not in find_one(of_heads).unasked


@pytest.mark.parametrize("function", [unscaled, of_the_first_keys])
def test_a_wrong_function_of_lists_is_told(function: Callable[..., Any]) -> None:
    assert FORMULA in run(find_one(function), profile="quick", only=["cross"]).failed


def test_a_script_hands_lists_over_too() -> None:
    told = found(unscaled, FORMULA)
    assert raised(told, unscaled)
    assert not raised(told, of_sequences)
