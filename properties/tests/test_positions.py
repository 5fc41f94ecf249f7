"""Rotary positions keep what a rotation keeps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from properties.truth.positions import Pairing, rotate, unrotate

pairings = st.sampled_from(["halves", "neighbours"])
seeds = st.integers(0, 2**16)


def drawn(seed: int, columns: int, tokens: int = 3) -> np.ndarray:
    """(B, H, T, D) of the normal distribution."""
    return np.random.default_rng(seed).normal(size=(2, 2, tokens, columns))


@given(seed=seeds, half=st.integers(1, 4), pairing=pairings, past=st.integers(0, 5000))
def test_a_rotation_keeps_lengths_and_is_undone(
    seed: int, half: int, pairing: Pairing, past: int
) -> None:
    """The length of each pair as that of each row."""
    x, positions = drawn(seed, 2 * half), np.arange(3) + past
    turned = rotate(x, positions, pairing)
    assert np.allclose((turned**2).sum(-1), (x**2).sum(-1), rtol=1e-12)
    assert np.allclose(unrotate(turned, positions, pairing), x, atol=1e-12)


@given(seed=seeds, half=st.integers(1, 4), pairing=pairings, shift=st.integers(-50, 50))
def test_products_depend_on_differences_of_positions_alone(
    seed: int, half: int, pairing: Pairing, shift: int
) -> None:
    """All positions shifted, nothing changes."""
    q, k = drawn(seed, 2 * half), drawn(seed + 1, 2 * half)
    first, second = (
        rotate(q, np.arange(3) + by, pairing)
        @ rotate(k, np.arange(3) + by, pairing).swapaxes(-1, -2)
        for by in (0, shift)
    )
    assert np.allclose(first, second, atol=1e-11)


@given(seed=seeds, pairing=pairings)
def test_the_transpose_is_the_inverse(seed: int, pairing: Pairing) -> None:
    """<turn(a), b> = <a, turn back(b)>."""
    a, b, positions = drawn(seed, 6), drawn(seed + 1, 6), np.array([3, 0, 70])
    turned = (rotate(a, positions, pairing) * b).sum()
    assert turned == pytest.approx((a * unrotate(b, positions, pairing)).sum(), abs=1e-12)


def test_position_zero_changes_nothing_and_a_portion_leaves_the_rest() -> None:
    """Exactly."""
    x = drawn(0, 8)
    assert (rotate(x, np.zeros(3)) == x).all()
    turned = rotate(x, np.arange(3) + 1, portion=0.5)
    assert (turned[..., 4:] == x[..., 4:]).all()
    assert (turned[..., :4] != x[..., :4]).all()


def test_pairs_are_turned_by_their_own_frequency() -> None:
    """A unit vector at position 2 of four columns: pair 0 by 2, pair 1 by 2 / 100."""
    unit = np.eye(4)[:, None, None]  # (4, 1, 1, 4)
    at = np.array([2.0])
    halves, neighbours = (
        rotate(unit, at, pairing)[:, 0, 0] for pairing in ("halves", "neighbours")
    )
    fast, slow = (np.cos(2.0), np.sin(2.0)), (np.cos(0.02), np.sin(0.02))
    assert halves[0] == pytest.approx([fast[0], 0, fast[1], 0])
    assert halves[1] == pytest.approx([0, slow[0], 0, slow[1]])
    assert neighbours[0] == pytest.approx([fast[0], fast[1], 0, 0])
    assert neighbours[3] == pytest.approx([0, 0, -slow[1], slow[0]])


def test_each_item_may_have_positions_of_its_own() -> None:
    """(B, T) is each item's (T,)."""
    x, own = drawn(1, 4), np.array([[0, 1, 2], [5, 6, 7]])
    together = rotate(x, own)
    assert all((together[b] == rotate(x[b : b + 1], own[b])[0]).all() for b in range(2))


def test_an_odd_number_of_columns_has_no_pairs() -> None:
    """Nor is there a third way to pair them."""
    with pytest.raises(ValueError, match="even number"):
        rotate(drawn(0, 3), np.arange(3))
    with pytest.raises(ValueError, match="'halves' or 'neighbours'"):
        rotate(drawn(0, 4), np.arange(3), "thirds")
